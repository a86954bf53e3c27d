"""Parameters that a module holds by itself and that no other kind took."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import prod

from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix, as_stored
from lmd.layers.registry import join, own_shapes, remainder
from lmd.sources.graph.graph_module import GraphModule
from lmd.sources.loaders import Loader
from lmd.sources.network import Network
from lmd.sources.reading import Confidence
from lmd.sources.rules.raw_tensors import bias_of, raw_role, stores_inputs_first

__all__ = ["raw_parameters"]


def _table(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1]).T


def _matrix(tensor: Tensor, *, transposed: bool) -> Tensor:
    matrix = tensor.reshape(tensor.shape[-2:])
    return matrix.T if transposed else matrix


def _unfolded(tensor: Tensor) -> Tensor:
    while tensor.shape[0] == 1:
        tensor = tensor[0]
    return tensor.flatten(1)


@remainder
def raw_parameters(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """A scale as the diagonal map; a table of vectors as an embedding; two axes as stored; more axes unfolded.

    Which axis is the output is not known: the first, unless the bias beside it has the length of the last.
    """
    own = own_shapes(module)
    for name, shape in own.items():
        loader = network.loaders.get(join(path, name))
        # what was not read has its reason in the record
        if loader is None or loader.shape != shape or (name == "bias" and type(module).__module__.startswith("torch.")):
            continue
        row = path or name if name == "weight" else join(path, name)
        role = raw_role(name, shape)
        if role == "scale":
            width = prod(shape)
            yield _row(row, "diagonal", (width, width), loader, as_stored, groups=width)
        elif role == "table":
            yield _row(row, "embedding", (shape[-1], prod(shape[:-1])), loader, _table)
        elif role == "matrix":
            found = _two_axes(row, loader, name, own)
            # a file that declares its graph takes no word against it
            yield replace(found, alternatives=()) if isinstance(network.skeleton, GraphModule) else found
        elif role == "stack" and name == "kernel":
            yield _kernel(row, loader)
        elif role == "stack":
            first = next(n for n in shape if n > 1)
            yield _row(row, "dense", (first, prod(shape) // first), loader, _unfolded)


_NOTES = {
    "diagonal": "raw parameter, by its name a scale of each channel",
    "embedding": "raw parameter, read as a table: columns are the vectors along its last axis",
    "dense": "raw parameter, first axis as outputs",
}


def _row(
    name: str, kind: str, shape: tuple[int, int], loader: Loader, form: Callable[[Tensor], Tensor], *, groups: int = 1
) -> LayerMatrix:
    note = _NOTES[kind] if len(loader.shape) <= 2 else f"{_NOTES[kind]}; stored {' x '.join(map(str, loader.shape))}"
    return LayerMatrix(name, kind, shape, loader, form, groups, confidence="guess", note=note)


def _two_axes(row: str, loader: Loader, name: str, own: Mapping[str, tuple[int, ...]]) -> LayerMatrix:
    rows, columns = loader.shape[-2:]
    inputs_first = stores_inputs_first(name, (rows, columns), own)
    bias = bias_of(name, own)
    sure = rows != columns and bias in ((rows,), (columns,))
    transposed = inputs_first is True
    note = "raw parameter, as stored: first axis as outputs"
    if sure:
        note = f"raw parameter; the bias has the length of its {'last' if transposed else 'first'} axis"
    elif transposed:
        note = "raw parameter; a kernel is stored (in, out) by flax and Keras"
    if name in ("gate", "router"):
        note = f"router by its name; {note}"
    shape = (columns, rows) if transposed else (rows, columns)
    others = () if sure else ("dense" if transposed else "transposed_dense", "embedding")
    confidence: Confidence = "shape" if sure else "guess"
    form = partial(_matrix, transposed=transposed)
    return LayerMatrix(row, "dense", shape, loader, form, 1, None, confidence, others, note)


def _patches(tensor: Tensor) -> Tensor:
    return tensor.movedim((-1, -2), (0, 1)).flatten(1)


def _kernel(row: str, loader: Loader) -> LayerMatrix:
    outputs = loader.shape[-1]
    shape = (outputs, prod(loader.shape) // outputs)
    note = "raw parameter; a kernel is stored (..., in, out) by flax and Keras; one patch to one position"
    return LayerMatrix(row, "kernel_matrix", shape, loader, _patches, confidence="guess", note=note)
