"""The variables of each layer class, in the order in which Keras makes them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from lmd.sources.keras.configuration.layer_config import LayerConfig

__all__ = ["Variable", "gates_apart", "rounded_to", "variables_of"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a layer.

    Attributes:
        role: dotted name within the layer, ``kernel``, ``query.bias``.
        trained: False for statistics.
        place: groups below the layer's own in a Keras 3 file, ``cell``, ``query_dense``.
        part: name of the part that older files put before the variable's own, ``query``, ``forward``.
    """

    role: str
    trained: bool = True
    place: tuple[str, ...] = ()
    part: str = ""

    @property
    def name(self) -> str:
        """Last part of the role."""
        return self.role.rpartition(".")[2]


def variables_of(layer: LayerConfig) -> tuple[Variable, ...] | None:
    """The variables of a layer; none for one without, None for a class that is not known."""
    own = _CLASSES.get(layer.class_name)
    if own is None:
        return None
    found = own(layer)
    return None if found is None else tuple(found)


def rounded_to(layer: LayerConfig) -> str:
    """The type to which Keras 3 has rounded the weights of a layer, ``int8``; '' if it has not."""
    told = layer.settings.get("dtype")
    config = told.get("config") if isinstance(told, Mapping) else None
    if isinstance(config, Mapping):
        return str(config.get("mode") or "")
    return told.partition("_from_")[0] if isinstance(told, str) and "_from_" in told else ""


def _rounded(layer: LayerConfig, role: str = "kernel") -> Iterator[Variable]:
    for name in _OF_ROUNDED.get(rounded_to(layer), ()):
        yield Variable(f"{role}_{name}" if name == "scale" else name, trained=False)


def _with_bias(*roles: str) -> Callable[[LayerConfig], Iterator[Variable]]:
    def make(layer: LayerConfig) -> Iterator[Variable]:
        yield from map(Variable, roles)
        if layer.flag("use_bias", default=True):
            yield Variable("bias")

    return make


def _dense(layer: LayerConfig) -> Iterator[Variable]:
    yield from (*_with_bias("kernel")(layer), *_rounded(layer))


def _einsum(layer: LayerConfig) -> Iterator[Variable]:
    yield Variable("kernel")
    if layer.settings.get("bias_axes"):
        yield Variable("bias")
    yield from _rounded(layer)


def _embedding(layer: LayerConfig) -> Iterator[Variable]:
    yield from (Variable("embeddings"), *_rounded(layer, "embeddings"))


def gates_apart(layer: LayerConfig) -> str:
    """Of LSTM and GRU of Keras 1, whose gates have arrays of their own: the gates, in the order of those; '' else."""
    told = layer.setting("consume_less", "cpu" if layer.version == 1 else "gpu")
    return _GATES.get(layer.class_name, "") if told != "gpu" else ""


def _recurrent(layer: LayerConfig) -> Iterator[Variable]:
    if gates := gates_apart(layer):
        yield from (Variable(f"{gate}.{role}") for gate in gates for role in ("kernel", "recurrent_kernel", "bias"))
        return
    for variable in _cell(layer):
        yield replace(variable, place=("cell",))


def _cell(layer: LayerConfig) -> Iterator[Variable]:
    yield from (Variable("kernel"), Variable("recurrent_kernel"))
    if layer.flag("use_bias", default=True):
        yield Variable("bias")


def _fused(layer: LayerConfig) -> Iterator[Variable]:
    yield from map(Variable, ("kernel", "recurrent_kernel", "bias"))


def _rnn(layer: LayerConfig) -> list[Variable] | None:
    """Of ``RNN``: those of its cell, or of each of its stacked cells."""
    if len(layer.inside) != 1:
        return None
    (cell,) = layer.inside
    if cell.class_name != "StackedRNNCells":
        return [replace(v, place=("cell",)) for v in _cell(cell)] if cell.class_name in CELLS else None
    found: list[Variable] = []
    counts: dict[str, int] = {}
    for index, inner in enumerate(cell.inside):
        if inner.class_name not in CELLS:
            return None
        name = CELLS[inner.class_name]
        number = counts[name] = counts.get(name, -1) + 1
        place = ("cell", "cells", f"{name}_{number}" if number else name)
        found += [replace(v, role=f"{index}.{v.role}", place=place) for v in _cell(inner)]
    return found


_OF_ROUNDED = {
    "int8": ("scale",),
    "int4": ("scale",),
    "float8": (
        *("inputs_scale", "inputs_amax_history", "scale", "kernel_amax_history"),
        *("outputs_grad_scale", "outputs_grad_amax_history"),
    ),
}
"""What Keras 3 keeps beside a rounded weight, in the order of the file."""
_GATES = {"LSTM": "icfo", "GRU": "zrh"}
CELLS = {"LSTMCell": "lstm_cell", "GRUCell": "gru_cell", "SimpleRNNCell": "simple_rnn_cell"}


def _normalised(*, statistics: bool) -> Callable[[LayerConfig], Iterator[Variable]]:
    def make(layer: LayerConfig) -> Iterator[Variable]:
        if layer.flag("scale", default=True):
            yield Variable("gamma")
        if layer.flag("center", default=True) and not layer.flag("rms_scaling", default=False):
            yield Variable("beta")
        if statistics:
            yield Variable("moving_mean", trained=False)
            yield Variable("moving_variance", trained=False)

    return make


def _heads(layer: LayerConfig) -> Iterator[Variable]:
    for part in ("query", "key", "value", "output"):
        place = (f"{part}_dense",)
        before = "attention_output" if part == "output" else part
        yield Variable(f"{part}.kernel", place=place, part=before)
        if layer.flag("use_bias", default=True):
            yield Variable(f"{part}.bias", place=place, part=before)


def _scaled(layer: LayerConfig) -> Iterator[Variable]:
    default = layer.class_name == "AdditiveAttention"
    if layer.setting("use_scale", default):
        yield Variable("scale")
    if layer.settings.get("score_mode") == "concat":
        yield Variable("concat_score_weight")


def _given_statistics(layer: LayerConfig) -> Iterator[Variable]:
    if layer.settings.get("mean") is None:
        for name in ("mean", "variance", "count"):
            yield Variable(name, trained=False)


def _bidirectional(layer: LayerConfig) -> list[Variable] | None:
    if not layer.inside:
        return None
    forward, backward = layer.inside[0], layer.inside[-1]
    found = []
    for direction, inner in (("forward", forward), ("backward", backward)):
        own = variables_of(inner)
        if own is None:
            return None
        place = f"{direction}_layer"
        found += [replace(v, role=f"{direction}.{v.role}", place=(place, *v.place), part=direction) for v in own]
    return found


def _wrapping(layer: LayerConfig) -> list[Variable] | None:
    own = variables_of(layer.inside[0]) if layer.inside else None
    return None if own is None else [replace(v, place=("layer", *v.place)) for v in own]


def _spectral(layer: LayerConfig) -> list[Variable] | None:
    own = _wrapping(layer)
    return None if own is None else [*own, Variable("vector_u", trained=False)]


def _of(*roles: str) -> Callable[[LayerConfig], Iterator[Variable]]:
    return lambda layer: map(Variable, roles)


_OF_AXES = (
    *("SpatialDropout", "ZeroPadding", "Cropping", "UpSampling"),
    *(f"{how}Pooling" for how in ("Max", "Average", "GlobalMax", "GlobalAverage")),
)
_WITHOUT = (
    *(
        "InputLayer",
        "Activation",
        "Dropout",
        "AlphaDropout",
        "GaussianDropout",
        "GaussianNoise",
        "ActivityRegularization",
        "Flatten",
        "Reshape",
        "Permute",
        "RepeatVector",
        "Concatenate",
        "Add",
        "Subtract",
        "Multiply",
        "Average",
        "Maximum",
        "Minimum",
        "Dot",
        "Masking",
        "ReLU",
        "LeakyReLU",
        "ELU",
        "Softmax",
        "ThresholdedReLU",
        "Rescaling",
        "UnitNormalization",
        "Identity",
        "Lambda",
        "Resizing",
        "CenterCrop",
        "RandomFlip",
        "RandomRotation",
        "RandomZoom",
        "RandomContrast",
        "RandomTranslation",
        "RandomCrop",
        "RandomBrightness",
        "RandomHeight",
        "RandomWidth",
        "TFOpLambda",
        "SlicingOpLambda",
        "TensorFlowOpLayer",
    ),
    *(f"{name}{axes}D" for axes in (1, 2, 3) for name in _OF_AXES),
)

_CLASSES: dict[str, Callable[[LayerConfig], Iterator[Variable] | list[Variable] | None]] = {
    **dict.fromkeys(_WITHOUT, _of()),
    "Dense": _dense,
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _with_bias("kernel")),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _with_bias("kernel")),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _with_bias("depthwise_kernel")),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _with_bias("depthwise_kernel", "pointwise_kernel")),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _recurrent),
    "EinsumDense": _einsum,
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _recurrent),
    **dict.fromkeys(("CuDNNLSTM", "CuDNNGRU"), _fused),
    "RNN": _rnn,
    "Bidirectional": _bidirectional,
    "TimeDistributed": _wrapping,
    "SpectralNormalization": _spectral,
    "Embedding": _embedding,
    "BatchNormalization": _normalised(statistics=True),
    "LayerNormalization": _normalised(statistics=False),
    "GroupNormalization": _normalised(statistics=False),
    "RMSNormalization": _of("scale"),
    "MultiHeadAttention": _heads,
    "GroupedQueryAttention": _heads,
    "GroupQueryAttention": _heads,
    "Attention": _scaled,
    "AdditiveAttention": _scaled,
    "PReLU": _of("alpha"),
    "Normalization": _given_statistics,
}
