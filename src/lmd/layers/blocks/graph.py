"""Graph convolutions: the weights that a message is multiplied with."""

import re
from collections.abc import Iterator

from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix, as_stored, transposed
from lmd.layers.registry import claims, join, own_shapes
from lmd.sources.loaders import Loader
from lmd.sources.network import Network
from lmd.sources.reading import Confidence

__all__ = ["concatenated_messages", "message_weights"]

_SIZES = (
    ("in_channels", "out_channels"),
    ("_in_feats", "_out_feats"),
    ("_in_src_feats", "_out_feats"),
    ("in_feat", "out_feat"),
    ("in_features", "out_features"),
)
"""Attributes by which libraries of graph networks keep the widths of a layer."""
_TORCH = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)


_GRAPH = re.compile(r"g[acir]+[nt]|graph|sage|message|conv|cheb|edge", re.IGNORECASE)
"""Names of graph layers that keep their widths as dense layers do."""


def _sizes(module: nn.Module) -> tuple[int, int] | None:
    for inputs, outputs in _SIZES:
        if inputs == "in_features" and not _GRAPH.search(type(module).__name__):
            continue
        width, height = getattr(module, inputs, None), getattr(module, outputs, None)
        if type(width) is int and type(height) is int:
            return width, height
    return None


def _fitting(module: nn.Module) -> list[str]:
    sizes = _sizes(module)
    own = own_shapes(module).items()
    return [n for n, s in own if sizes and len(s) in (2, 3) and s[-2:] in (sizes, sizes[::-1])]


def _keeps_its_widths(module: nn.Module) -> bool:
    """A module not of torch with ``in_channels`` and ``out_channels``, or such, and weights of these widths."""
    return not isinstance(module, _TORCH) and bool(_fitting(module))


def _slice(stack: Tensor) -> Tensor:
    return stack[0]


def _slice_transposed(stack: Tensor) -> Tensor:
    return stack[0].T


@claims(_keeps_its_widths)
def message_weights(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in)``, the map of one node's features before they are sent or summed; one for each relation of a stack.

    What is sent where (the graph) is data and not part of the map. Square weights of a graph layer are read as stored
    ``(in, out)``, as these libraries multiply from the right; those of a class named linear as ``(out, in)``.
    """
    sizes = _sizes(module)
    assert sizes is not None
    for name in _fitting(module):
        loader = network.loader(join(path, name))
        row = path or name if name == "weight" else join(path, name)
        linear = "linear" in type(module).__name__.lower()
        flipped = loader.shape[-2:] == sizes if sizes[0] != sizes[1] else not linear
        sure: Confidence = "shape" if sizes[0] != sizes[1] or linear else "guess"
        yield from _maps(row, loader, sizes, sure, flipped=flipped)


def _maps(
    name: str, loader: Loader, sizes: tuple[int, int], sure: Confidence, *, flipped: bool
) -> Iterator[LayerMatrix]:
    inputs, outputs = sizes
    stored = "stored (in, out)" if flipped else "stored (out, in)"
    if len(loader.shape) == 2:
        form = transposed if flipped else as_stored
        yield LayerMatrix(name, "dense", (outputs, inputs), loader, form, confidence=sure, note=f"messages; {stored}")
        return
    form = _slice_transposed if flipped else _slice
    for index in range(loader.shape[0]):
        part = loader.narrow(0, index, 1)
        note = f"messages of relation or basis {index} of {loader.shape[0]}; {stored}"
        yield LayerMatrix(f"{name}.{index}", "dense", (outputs, inputs), part, form, confidence=sure, note=note)


def _concatenates(module: nn.Module) -> bool:
    """A module with a Linear ``fc_full`` that reads two nodes and their edge, as in a crystal graph network."""
    full = dict(module.named_children()).get("fc_full")
    return type(full) is nn.Linear and full.out_features % 2 == 0 and full.in_features > full.out_features


@claims(_concatenates)
def concatenated_messages(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(2 width, 2 width + edge)``, from both nodes and their edge to gate and core; as views what each part reads.

    References:
        Xie & Grossman 2018.
    """
    name = join(path, "fc_full")
    loader = network.loader(f"{name}.weight")
    rows, columns = loader.shape
    width = rows // 2
    note = (
        f"reads own node ({width}), neighbour ({width}), edge ({columns - rows}); writes gate, then core ({width} each)"
    )
    yield LayerMatrix(name, "dense", (rows, columns), loader, note=note)
    if not network.wishes.parts:
        return
    for word, start, size in (("own", 0, width), ("neighbour", width, width), ("edge", rows, columns - rows)):
        part = loader.narrow(1, start, size)
        yield LayerMatrix(
            f"{name}.{word}", "dense", (rows, size), part, view_of=name, note=f"what the {word} part does"
        )
