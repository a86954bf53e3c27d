"""The cheap findings of one layer, to be followed over checkpoints or steps of a training."""

from collections.abc import Mapping
from typing import Any

from lmd.atlas.layer_record import findings_entry
from lmd.factors.factors import Factors
from lmd.factors.svd import factors_of
from lmd.findings.analysis import analyses, run
from lmd.layers.layer_matrix import LayerMatrix

__all__ = ["FOLLOWED", "LAYER_FAULTS", "cheap_findings"]

FOLLOWED = ("spectral_norm", "frobenius_norm", "stable_rank", "effective_rank", "rank_90", "spikes")
"""What is followed over time, beside the change since the first."""
_ANALYSES = ("norms", "ranks", "noise")
LAYER_FAULTS = (ValueError, RuntimeError, TypeError, KeyError, OSError, EOFError, MemoryError, ArithmeticError)
"""What a file, a matrix or a machine can do to one layer; it costs its row."""


def cheap_findings(layer: LayerMatrix, factors: Factors | None = None) -> Mapping[str, Mapping[str, Any]]:
    """Key to value, baseline, error and reason, from the singular values alone, which may be known already.

    Raises:
        ValueError: the layer is empty, or contains NaN or Inf.
    """
    given: dict[type, Any] = {Factors: factors or factors_of(layer, vectors=0), LayerMatrix: layer}
    known = analyses()
    found = findings_entry([run(known[name], layer.name, given) for name in _ANALYSES])
    return {key: found[key] for key in FOLLOWED if key in found}
