"""Dense layers, stored either way round."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.bias import wished_bias
from lmd.layers.layer_matrix import LayerMatrix, transposed
from lmd.layers.registry import claims, join, own_forward, register
from lmd.sources.network import Network
from lmd.sources.reading import Confidence
from lmd.sources.skeleton import is_stored_transposed

__all__ = ["dense", "transposed_dense"]


@register
def dense(module: nn.Linear, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``W`` itself, ``(out_features, in_features)``."""
    # of the tensor, which may have been pruned or grown after the module was made
    loader = network.loader(join(path, "weight"))
    outputs, inputs = loader.shape
    note = own_forward(module)
    sure: Confidence = "guess" if note else "declared"
    bias = wished_bias(network, join(path, "bias"))
    yield LayerMatrix(path or "weight", "dense", (outputs, inputs), loader, confidence=sure, note=note, bias=bias)


@claims(is_stored_transposed)
def transposed_dense(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The transpose of a weight stored ``(in, out)``."""
    loader = network.loader(join(path, "weight"))
    inputs, outputs = loader.shape
    name, bias = path or "weight", wished_bias(network, join(path, "bias"))
    yield LayerMatrix(name, "dense", (outputs, inputs), loader, transposed, note="stored (in, out)", bias=bias)
