"""Dense layers, stored either way round."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.layer_matrix import LayerMatrix, transposed
from lmd.layers.registry import claims, join, register
from lmd.sources.network import Network
from lmd.sources.skeleton import TransposedLinear

__all__ = ["dense", "transposed_dense"]


@register
def dense(module: nn.Linear, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``W`` itself, ``(out_features, in_features)``."""
    # of the tensor, which may have been pruned or grown after the module was made
    loader = network.loader(join(path, "weight"))
    outputs, inputs = loader.shape
    yield LayerMatrix(path or "weight", "dense", (outputs, inputs), loader)


def _stored_transposed(module: nn.Module) -> bool:
    """A Conv1D as in transformers, and dense layers of bare files whose biases say they are stored ``(in, out)``."""
    # known by its form so that the library need not be there; a live attribute is not read, since
    # that alone can step a parametrisation
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    like_conv1d = type(module).__name__ == "Conv1D" and "nf" in vars(module)
    return isinstance(module, TransposedLinear) or (like_conv1d and weight is not None and weight.ndim == 2)


@claims(_stored_transposed)
def transposed_dense(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The transpose of a weight stored ``(in, out)``."""
    loader = network.loader(join(path, "weight"))
    inputs, outputs = loader.shape
    yield LayerMatrix(path or "weight", "dense", (outputs, inputs), loader, transposed, note="stored (in, out)")
