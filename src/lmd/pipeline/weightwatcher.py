"""An atlas under the names of the columns that users of WeightWatcher know."""

from collections.abc import Mapping
from math import log10, sqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from lmd.atlas.atlas import Atlas
from lmd.atlas.layer_record import LayerRecord
from lmd.linalg.chance.spectra import jensen_shannon_distance

__all__ = ["weightwatcher_rows"]

_OBJECTS = {"kernel_matrix": "kernel matrix", "conv_operator": "operator", "conv_symbol": "symbol"}
_WEAK = 1e-6
"""Of the largest eigenvalue: below, a direction hardly counts."""

Row = dict[str, Any]


def weightwatcher_rows(atlas: Atlas | str | Path) -> list[Row]:
    """One row for each layer matrix, in the order of the atlas; None where a column has no answer for it.

    Columns are documented in ``docs/weightwatcher.md``. Those of the power law need an atlas that was made with
    ``power_law=True``; ``status`` says what they lack.

    Args:
        atlas: one, or the folder of a saved one.

    >>> import torch, lmd
    >>> row = lmd.weightwatcher_rows(lmd.decompose(torch.nn.Linear(20, 30, bias=False), power_law=True))[0]
    >>> row["N"], row["M"], row["num_evals"], row["spectral_norm"] == row["sv_max"] ** 2
    (30, 20, 20, True)
    """
    opened = Atlas.load(atlas) if isinstance(atlas, str | Path) else atlas
    return [_row(index, record) for index, record in enumerate(opened.layers)]


def _row(index: int, record: LayerRecord) -> Row:
    entry = record.entry
    found = {key: one["value"] for key, one in entry["findings"].items()}
    arrays: Mapping[str, Tensor] = {} if record.failed else record.arrays()
    M, N = sorted(entry["shape"])
    head = {
        "layer_id": index,
        "name": record.name.rpartition(".")[2],
        "longname": record.name,
        "layer_type": entry["kind"],
        "matrix": _matrix(entry),
        "view_of": entry["view_of"],
        "N": N,
        "M": M,
        "Q": N / M if M else None,
    }
    spectrum = arrays.get("spectrum")
    largest = found.get("spectral_norm")
    return {
        **head,
        **_tail(entry, found),
        **_sizes(found, spectrum),
        **_noise(found, (M, N)),
        **_shuffled(found, arrays, largest),
    }


def _matrix(entry: Mapping[str, Any]) -> str:
    """Which of a layer's matrices it is, with the size of input where that is a part of it."""
    word = _OBJECTS.get(entry["kind"], "matrix")
    return f"{word} {entry['note'].partition(',')[0]}" if entry["kind"] == "conv_operator" else word


def _tail(entry: Mapping[str, Any], found: Mapping[str, Any]) -> Row:
    alpha, norm = found.get("tail_exponent"), found.get("spectral_norm")
    told = entry["findings"].get("tail_exponent", {})
    why = entry["reason"] or told.get("reason") or "no power law was asked for"
    return {
        "alpha": alpha,
        "alpha_low": found.get("tail_exponent_low"),
        "alpha_high": found.get("tail_exponent_high"),
        "alpha_random": told.get("baseline"),
        "sigma": told.get("error"),
        "D": found.get("tail_distance"),
        "pl_p": found.get("tail_p"),
        "lognormal_p": found.get("tail_log_normal_p"),
        "exponential_ratio": found.get("tail_exponential_ratio"),
        "exponential_p": found.get("tail_exponential_p"),
        "xmin": found.get("tail_start"),
        "xmax": None if alpha is None or norm is None else norm**2,
        "num_pl_spikes": found.get("tail_count"),
        "alpha_weighted": None if alpha is None or not norm else 2 * alpha * log10(norm),
        "log_alpha_norm": found.get("log_alpha_norm"),
        "status": "success" if alpha is not None else why,
    }


def _sizes(found: Mapping[str, Any], spectrum: Tensor | None) -> Row:
    largest, norm = found.get("spectral_norm"), found.get("frobenius_norm")
    rank, values = found.get("numerical_rank"), spectrum
    return {
        "has_esd": values is not None,
        "num_evals": None if values is None else len(values),
        "norm": _square(norm),
        "log_norm": _log_square(norm),
        "spectral_norm": _square(largest),
        "log_spectral_norm": _log_square(largest),
        "lambda_max": _square(largest),
        "sv_max": largest,
        "sv_min": found.get("smallest_gain"),
        "stable_rank": found.get("stable_rank"),
        "matrix_rank": rank,
        "rank_loss": None if values is None or rank is None else len(values) - rank,
        "weak_rank_loss": None if values is None else int((values < sqrt(_WEAK) * values[0]).sum()),
        "entropy": found.get("spectral_entropy"),
    }


def _noise(found: Mapping[str, Any], sides: tuple[int, int]) -> Row:
    """The bulk as it would be if all of the layer were noise of its Frobenius norm.

    Its upper end is what 1 of 100 draws pass (Tracy-Widom), its lower end the limit of large layers (Marchenko-Pastur).
    """
    edge, largest, whole = found.get("gaussian_edge"), found.get("spectral_norm"), found.get("noise_edge")
    small, large = (sqrt(side) for side in sides)
    return {
        "num_spikes": found.get("gaussian_spikes"),
        "bulk_max": _square(edge),
        "bulk_min": None if edge is None or whole is None else (whole * (large - small) / (large + small)) ** 2,
        "mp_softrank": None if edge is None or not largest else (edge / largest) ** 2,
    }


def _shuffled(found: Mapping[str, Any], arrays: Mapping[str, Tensor], largest: float | None) -> Row:
    spectrum, mixed = arrays.get("spectrum"), arrays.get("null_models.shuffled_spectrum")
    same = {"rand_p": found.get("shuffled_p"), "rand_ks": found.get("shuffled_distance")}
    if spectrum is None or mixed is None or not len(mixed) or not largest:
        return dict.fromkeys(_DRAWN) | same
    top, edge = mixed[0].item(), found["gaussian_edge"]
    traps = int((mixed > edge).sum())
    drawn = (
        top**2,
        jensen_shannon_distance(spectrum.square(), mixed.square()),
        traps,
        traps,
        (edge / top) ** 2,
        (top / largest) ** 2,
        largest**2 - top**2,
        found["shuffled_spikes"],
        found["outlier_spikes"],
    )
    return dict(zip(_DRAWN, drawn, strict=True)) | same


_DRAWN = (
    "max_rand_eval",
    "rand_distance",
    "rand_num_spikes",
    "num_traps",
    "rand_mp_softrank",
    "ww_softrank",
    "ww_maxdist",
    "correlated_spikes",
    "outlier_spikes",
)


def _square(value: float | None) -> float | None:
    return None if value is None else value**2


def _log_square(value: float | None) -> float | None:
    return 2 * log10(value) if value else None
