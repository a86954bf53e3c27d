"""Sizes that a configuration declares, against those of the stored arrays."""

from collections.abc import Mapping

from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.hdf5.contents import DataSet

__all__ = ["contradiction"]

_SIZES = {
    "Dense": (("units", "kernel", -1),),
    "Embedding": (("output_dim", "embeddings", 1), ("input_dim", "embeddings", 0)),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU"), (("units", "recurrent_kernel", 0),)),
    **{f"Conv{axes}D": (("filters", "kernel", -1),) for axes in (1, 2, 3)},
    **{f"Conv{axes}DTranspose": (("filters", "kernel", -2),) for axes in (1, 2, 3)},
    **{f"SeparableConv{axes}D": (("filters", "pointwise_kernel", -1),) for axes in (1, 2)},
    **{f"DepthwiseConv{axes}D": (("depth_multiplier", "depthwise_kernel", -1),) for axes in (1, 2)},
}
"""Class to settings, each with the array and the axis that it is the length of."""
_WINDOWS = ("kernel", "depthwise_kernel")


def contradiction(layer: LayerConfig, arrays: Mapping[str, DataSet]) -> str:
    """Which declared size is another than that of its array; '' if none is."""
    if layer.settings.get("dim_ordering") == "th":
        return ""
    for setting, role, axis in _SIZES.get(layer.class_name, ()):
        declared, shape = layer.settings.get(setting), arrays[role].shape if role in arrays else ()
        if isinstance(declared, int) and len(shape) >= 2 and declared != shape[axis]:
            return f"its configuration says {setting} {declared}, its {role} has the shape {shape}"
    window = layer.settings.get("kernel_size")
    for role in _WINDOWS:
        if role not in arrays or not isinstance(window, list | tuple) or "Conv" not in layer.class_name:
            continue
        shape = arrays[role].shape
        if len(shape) == len(window) + 2 and tuple(window) != shape[:-2]:
            return f"its configuration says kernel_size {tuple(window)}, its {role} has the shape {shape}"
    return ""
