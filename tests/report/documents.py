"""Documents as the command line prints them, made from NumPy alone: a digits network, a large one, and odd ones."""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

__all__ = ["digits", "empty", "large", "no_arrays", "odd"]

Arrays = Mapping[str, NDArray[Any]]
Made = tuple[dict[str, Any], Callable[[str], Arrays]]

_GLOSSARY = {
    "spectral_norm": ("σ_1", "Largest factor by which the layer stretches an input", "Golub & Van Loan 2013, 2.4"),
    "frobenius_norm": ("|W|_F", "Root of the sum of squared weights", "Golub & Van Loan 2013, 2.3"),
    "nuclear_norm": ("|W|_*", "Sum of the singular values", "Fan 1951"),
    "smallest_gain": (
        "σ_r",
        "Smallest factor by which the layer stretches an input it can see",
        "Golub & Van Loan 2013",
    ),
    "condition_number": ("κ", "Largest over smallest gain", "Turing 1948"),
    "numerical_rank": ("r_num", "Directions above rounding", "Golub, Klema & Stewart 1976"),
    "stable_rank": ("r_s", "Energy in units of the strongest direction", "Rudelson & Vershynin 2007"),
    "effective_rank": ("r_eff", "Number of directions that matter, by entropy", "Roy & Vetterli 2007"),
    "participation_ratio": ("PR", "Number of directions that share the energy", "Gao & Ganguli 2017"),
    "rank_90": ("k_90", "Directions that hold 90 % of the energy", "Eckart & Young 1936"),
    "rank_99": ("k_99", "Directions that hold 99 % of the energy", "Eckart & Young 1936"),
    "eckart_young": ("e_k", "Error of the best matrix of rank k, relative", "Eckart & Young 1936"),
    "noise_edge": ("σ_+", "Largest singular value noise of this size would have", "Marchenko & Pastur 1967"),
    "spikes": ("n_+", "Singular values above the noise edge", "Baik, Ben Arous & Péché 2005"),
    "projection_energy": ("E_k", "Share of the inputs' energy along each leading direction", "Jolliffe 2002"),
}


def _findings(S: NDArray[Any], shape: tuple[int, int], baseline: NDArray[Any] | None) -> dict[str, Any]:
    def values(s: NDArray[Any]) -> dict[str, Any]:
        energy, share = s**2, s / s.sum()
        left = np.concatenate([[energy.sum()], np.maximum(energy.sum() - energy.cumsum(), 0)])
        edge = np.linalg.norm(s) * (np.sqrt(shape[0]) + np.sqrt(shape[1])) / np.sqrt(shape[0] * shape[1])
        held = energy.cumsum() / energy.sum()
        return {
            "spectral_norm": s[0],
            "frobenius_norm": np.linalg.norm(s),
            "nuclear_norm": s.sum(),
            "smallest_gain": s[-1],
            "condition_number": s[0] / s[-1] if s[-1] else None,
            "numerical_rank": int((s > 1e-12 * s[0]).sum()),
            "stable_rank": energy.sum() / energy[0],
            "effective_rank": float(np.exp(-(share * np.log(share + 1e-300)).sum())),
            "participation_ratio": energy.sum() ** 2 / (energy**2).sum(),
            "rank_90": int(np.searchsorted(held, 0.9)) + 1,
            "rank_99": int(np.searchsorted(held, 0.99)) + 1,
            "eckart_young": np.sqrt(left / left[0]).tolist(),
            "noise_edge": edge,
            "spikes": int((s > edge).sum()),
        }

    mine, random = values(S), values(baseline) if baseline is not None else {}
    random.pop("noise_edge", None)
    return {
        key: {
            "value": value,
            "baseline": random.get(key),
            "error": 0.0 if isinstance(value, int) else 2.2e-15,
            "unit": "1",
            "direction": "exact",
            "reason": "" if value is not None else "the smallest gain is zero",
        }
        for key, value in mine.items()
    }


def _layer(
    name: str, W: NDArray[Any], rng: np.random.Generator, kind: str = "dense"
) -> tuple[dict[str, Any], dict[str, Any]]:
    U, S, Vh = np.linalg.svd(W, full_matrices=False)
    random = np.linalg.svd(rng.standard_normal(W.shape), compute_uv=False)
    random *= np.linalg.norm(S) / np.linalg.norm(random)
    k = min(32, len(S))
    layer = {
        "name": name,
        "kind": kind,
        "shape": list(W.shape),
        "rank": k,
        "singular_values": S.tolist(),
        "view_of": None,
        "confidence": "declared",
        "alternatives": [],
        "note": "",
        "method": "gesdd",
        "residual": 3e-15,
        "orthogonality_defect": 2e-15,
        "failed": False,
        "reason": "",
        "findings": _findings(S, (W.shape[0], W.shape[1]), random),
    }
    return layer, {"spectrum": S, "baseline": random, "U": U[:, :k], "S": S[:k], "Vh": Vh[:k]}


def _document(name: str, layers: list[dict[str, Any]], tensors: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    parameters = sum(t["parameters"] for t in tensors if t["status"] not in ("buffer", "tied"))
    decomposed = sum(t["parameters"] for t in tensors if t["status"] == "decomposed")
    return {
        "schema_version": 1,
        "complete": True,
        "network": {"name": name, "source": "a torch module", "sha256": "8f" * 32, "dtype": "float32"},
        "provenance": {
            "lmd": "0.1.0",
            "torch": "2.13.0",
            "numpy": "2.4.6",
            "scipy": "1.17.1",
            "python": "3.11.9",
            "seed": 0,
            "threads": 2,
            "options": {"vectors": "32", "rank": None},
            "started": "2026-11-22T11:02:03+00:00",
            "seconds": 1.9,
        },
        "facts": {"optimiser": "AdamW", "weight_decay": 0.01, "epoch": 40},
        "coverage": {
            "parameters": parameters,
            "decomposed": decomposed / parameters if parameters else 0.0,
            "accounted": 1.0,
            "tensors": tensors,
        },
        "layers": layers,
        "glossary": {
            key: {"symbol": symbol, "unit": "1", "meaning": meaning, "source": source}
            for key, (symbol, meaning, source) in _GLOSSARY.items()
        },
    } | more


def _tensor(name: str, shape: tuple[int, ...], status: str = "decomposed", reason: str = "") -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "parameters": int(np.prod(shape)), "status": status, "reason": reason}


@cache
def digits() -> Made:
    """A 64-128-64-10 network trained on scikit-learn's digits, with its inputs on the leading directions."""
    X, labels = load_digits(return_X_y=True)
    X = X / 16
    network = MLPClassifier((128, 64), alpha=0.3, max_iter=40, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X, labels)
    rng = np.random.default_rng(0)
    layers, arrays, tensors, inputs = [], {}, [], X
    for index, (coefficients, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        name = f"layers.{2 * index}"
        layer, held = _layer(name, coefficients.T, rng)
        coordinates = inputs @ held["Vh"].T
        shares = (coordinates**2).sum(axis=0)[:10] / (inputs**2).sum()
        even = 1 / coefficients.shape[0]
        layer["findings"]["projection_energy"] = {
            "value": shares.tolist(),
            "baseline": [even] * len(shares),
            "error": 1e-6,
            "unit": "1",
            "direction": "exact",
            "reason": "",
        }
        held |= {"projection.coordinates": coordinates[:, :3], "projection.labels": labels}
        layers.append(layer)
        arrays[name] = held
        tensors.append(_tensor(f"{name}.weight", layer["shape"]))
        tensors.append(_tensor(f"{name}.bias", bias.shape, "vector", "a bias is a vector, not a map"))
        inputs = np.maximum(inputs @ coefficients + bias, 0)
    document = _document("digits", layers, tensors)
    document["network"]["picture"] = [8, 8]
    document["training"] = {"accuracy_train": network.score(X, labels), "accuracy_test": 0.9711, "examples": len(X)}
    return document, arrays.__getitem__


def large(blocks: int = 37, width: int = 96) -> Made:
    """A transformer-like network of four matrices a block, with head views, norms and one failed layer."""
    rng = np.random.default_rng(1)
    layers, arrays, tensors = [], {}, [_tensor("embed.positions", (1, width), "buffer", "a buffer is not trained")]
    for block in range(blocks):
        for part, kind, shape in (
            ("attention.query", "query", (width, width)),
            ("attention.output", "attention_output", (width, width)),
            ("intermediate", "dense", (4 * width, width)),
            ("output", "dense", (width, 4 * width)),
        ):
            name = f"encoder.layer.{block}.{part}"
            strength = 4 * np.exp(-np.arange(12) / (2 + block / 6))
            left, right = rng.standard_normal((shape[0], 12)), rng.standard_normal((12, shape[1]))
            W = rng.standard_normal(shape) + (left * strength) @ right / np.sqrt(max(shape))
            layer, arrays[name] = _layer(name, W * 0.05, rng, kind)
            layers.append(layer)
            tensors += [
                _tensor(f"{name}.weight", shape),
                _tensor(f"{name}.bias", shape[:1], "vector", "a bias is a vector"),
            ]
            if part == "attention.query" and block < 3:
                for head in range(4):
                    view, arrays[f"{name}.{head}"] = _layer(
                        f"{name}.{head}", W[width // 4 * head : width // 4 * (head + 1)] * 0.05, rng, "query"
                    )
                    layers.append(view | {"view_of": name})
        norm, held = _layer(f"encoder.layer.{block}.norm", np.diag(1 + 0.1 * rng.random(8)), rng, "diagonal")
        for finding in norm["findings"].values():
            finding |= {"baseline": None, "reason": "a diagonal map has no random baseline"}
        layers.append(norm)
        arrays[norm["name"]] = {key: value for key, value in held.items() if key != "baseline"}
    layers.insert(7, failed_layer("encoder.layer.1.broken"))
    tensors.append(_tensor("encoder.layer.1.broken", (9, 9), "failed", "12 of 81 entries are NaN"))
    tensors += [_tensor(f"aux.{i}.bank", (3, 3, 3), "unsupported", "no layer kind for Aux") for i in range(40)]
    document = _document("sentence-encoder-L37", layers, tensors)
    document["coverage"]["accounted"] = 1.0
    return document, lambda name: arrays.get(name, {})


def failed_layer(name: str) -> dict[str, Any]:
    """A layer whose values could not be computed."""
    return {
        "name": name,
        "kind": "dense",
        "shape": [9, 9],
        "rank": 0,
        "singular_values": None,
        "view_of": None,
        "failed": True,
        "reason": "12 of 81 entries are NaN",
        "findings": {},
    }


def odd() -> Made:
    """Names that try to break out, a 1 x 1 matrix, a missing finding, a finding nobody knows, no glossary, no end."""
    rng = np.random.default_rng(2)
    nasty = "</script><img src=x onerror=alert(1)>&\"'`${1}\u2028 größe 层 {{css}}"
    one, held = _layer(nasty, np.array([[2.5]]), rng)
    one["findings"]["unheard_of"] = {
        "value": [1.0, 2.0, float("nan")],
        "baseline": None,
        "error": None,
        "unit": "bit",
        "reason": nasty,
    }
    one["findings"]["spikes"] = {
        "value": None,
        "baseline": None,
        "error": None,
        "unit": "1",
        "reason": "too small to tell",
    }
    one["findings"]["spectral_norm"] |= {"direction": "upper", "error": None}
    bare = {"name": "bare", "kind": "dense", "shape": [3, 4], "singular_values": [3.0, 2.0, 0.0], "findings": {}}
    document = _document(
        nasty, [one, bare, failed_layer("nan " + nasty)], [_tensor(nasty, (1, 1), "unsupported", nasty)]
    )
    document |= {"complete": False, "glossary": {}, "facts": {nasty: nasty}}
    return document, lambda name: held if name == nasty else {}


def empty() -> Made:
    """A network without a single layer."""
    return _document("nothing", [], []), no_arrays


def no_arrays(_name: str) -> Arrays:
    """What an atlas without arrays answers."""
    return {}


def many(layers: int) -> Made:
    """As many copies of one layer of 128 singular values."""
    rng = np.random.default_rng(3)
    layer, held = _layer("model", rng.standard_normal((128, 128)), rng)
    held = {"spectrum": held["spectrum"], "baseline": held["baseline"]}
    names = [f"model.layers.{index // 40}.experts.{index % 40}.down_proj" for index in range(layers)]
    tensors = [_tensor(f"{name}.weight", (128, 128)) for name in names]
    document = _document("many", [layer | {"name": name} for name in names], tensors)
    return document, lambda _name: held
