"""What an effective weight was computed by: the names of its parametrisations."""

from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from lmd.layers.layer_matrix import LayerMatrix

__all__ = ["parametrised_note"]

_STORED = (
    ({"weight_g", "weight_v"}, "weight norm, g v / ||v||"),
    ({"original0", "original1"}, "weight norm, g v / ||v||"),
    ({"weight_orig", "weight_mask"}, "pruning, weight times mask"),
    ({"weight_orig", "weight_u"}, "spectral norm, weight / sigma"),
    ({"weight_orig"}, "spectral norm, weight / sigma"),
)
"""Last names of the stored tensors, to what they make; pruning keeps its mask as a buffer."""


def parametrised_note(row: LayerMatrix, module: nn.Module) -> str:
    """``effective weight of _SpectralNorm``; '' of a weight that is stored as it is."""
    if row.view_of is not None:
        return ""
    names = {name.rpartition(".")[2] for name in row.loader.tensors}
    if parametrize.is_parametrized(module) and any(".parametrizations." in f".{name}" for name in row.loader.tensors):
        chains: Any = module.parametrizations
        words = (type(step).__name__.lstrip("_") for chain in chains.values() for step in chain)
        return f"effective weight of {', '.join(dict.fromkeys(words))}"
    if "weight_orig" in names and "weight_mask" in dict(module.named_buffers(recurse=False)):
        return "effective weight of pruning, weight times mask"
    found = next((text for stored, text in _STORED if stored <= names), "")
    return f"effective weight of {found}" if found else ""
