"""The law that the weights of a layer usually start from, where the file or its framework tells it."""

from collections.abc import Mapping
from math import prod, sqrt
from typing import Any

from lmd.layers.initialised.keras_words import law_of_keras
from lmd.layers.initialised.law import InitialLaw, normal, uniform
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.sources.network import Network

__all__ = ["usual_law"]

_HUGGING_FACE = frozenset({"dense", "embedding", "query", "key", "value", "attention_output", "expert"})
_OTHERS = {
    "conv_operator": "the weights of a convolution are in the row of its kernel",
    "conv_symbol": "the weights of a convolution are in the row of its kernel",
    "diagonal": "gains start at 1, and not at random",
    "adapter": "the update of an adapter starts at 0",
    "difference": "a difference of two networks has no initialisation",
}
_GATES = {**dict.fromkeys("ifgo", 4), **dict.fromkeys("rzn", 3)}
"""Gate to how many of them its cell has, which Keras keeps side by side in one kernel."""
_DEFAULT = "default of PyTorch's"
_RECURRENT = "a gate's block of an orthogonal matrix has no independent weights"


def usual_law(row: LayerMatrix, network: Network) -> InitialLaw | str:
    """The law of the weights of one stored matrix before training, or why none is known.

    A file rarely tells how its weights were drawn. A Keras configuration names the initialiser of each layer; a
    configuration of Hugging Face names the deviation; of all else it is taken to be the default of PyTorch's module of
    that kind, which is an assumption and is called so.

    References:
        Glorot & Bengio 2010; He et al. 2015 (as ``torch.nn.init`` and ``keras.initializers`` have them).
    """
    refused = _refused(row)
    if refused:
        return refused
    if str(network.facts.get("format", "")).startswith("Keras"):
        return _of_keras(row, network.facts)
    if str(network.facts.get("format", "")).startswith("ONNX") and "pytorch" not in str(network.facts.get("producer")):
        return "the ONNX file does not tell the framework that it was trained in"
    config = _configuration(network)
    if config:
        return _of_hugging_face(row, config)
    return _of_torch(row)


def _configuration(network: Network) -> Mapping[str, Any]:
    """Of Hugging Face: what the module holds, which knows its defaults too, or else what the file says."""
    held = getattr(getattr(network.skeleton, "config", None), "to_dict", None)
    told = held() if callable(held) else network.facts.get("config")
    return told if isinstance(told, Mapping) else {}


def _refused(row: LayerMatrix) -> str:
    if isinstance(row, ThinProduct):
        return "a product of two matrices, which have rows of their own"
    return _OTHERS.get(row.kind, "" if row.bias is None else "its bias is folded in, and starts from another law")


def _of_hugging_face(row: LayerMatrix, config: Mapping[str, Any]) -> InitialLaw | str:
    deviation = config.get("initializer_range")
    if row.kind not in _HUGGING_FACE or not isinstance(deviation, int | float) or not deviation > 0:
        return "the configuration tells no initializer_range for a layer of this kind"
    return normal(float(deviation), f"initializer_range {deviation} of the file's configuration")


def _of_torch(row: LayerMatrix) -> InitialLaw | str:
    stored = row.loader.shape
    if row.kind == "embedding":
        return normal(1.0, f"{_DEFAULT} embedding, assumed")
    if row.kind == "gate":
        return uniform(1 / sqrt(row.shape[0]), f"{_DEFAULT} recurrent layers, assumed")
    if row.kind == "kernel_matrix":
        # as PyTorch counts it, also where the kernel is transposed
        return uniform(1 / sqrt(prod(stored[1:])), f"{_DEFAULT} convolution, assumed")
    if any(name.endswith("in_proj_weight") for name in row.loader.tensors):
        width = row.shape[1]
        return uniform(sqrt(6 / (4 * width)), f"{_DEFAULT} attention, assumed")
    if row.kind in _HUGGING_FACE:
        return uniform(1 / sqrt(row.shape[1]), f"{_DEFAULT} linear layer, assumed")
    return f"no usual law is known for a layer of kind {row.kind}"


def _of_keras(row: LayerMatrix, facts: Mapping[str, Any]) -> InitialLaw | str:
    layer, _, part = row.loader.tensors[0].rpartition(".")
    role = part.removesuffix("_kernel")
    known = facts.get("initialisers")
    told = known.get(layer, {}).get(role) if isinstance(known, Mapping) else None
    if told is None:
        return "the file names no initialiser for this layer"
    if row.kind == "gate" and role == "recurrent":
        return _RECURRENT
    return law_of_keras(told["class"], told["config"], _fans(row))


def _fans(row: LayerMatrix) -> tuple[int, int]:
    """As Keras counts them: of a kernel ``(*window, in, out)`` times the window, of gates together."""
    stored = row.loader.shape
    if row.kind == "kernel_matrix" and len(stored) > 2:
        window = prod(stored[2:])
        return stored[1] * window, stored[0] * window
    gates = _GATES.get(row.name.rpartition(".")[2], 1) if row.kind == "gate" else 1
    return row.shape[1], row.shape[0] * gates
