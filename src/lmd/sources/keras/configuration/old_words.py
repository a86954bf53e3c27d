"""Settings of Keras 1, and names of classes that have changed, in the words of Keras 2."""

from collections.abc import Mapping
from typing import Any

__all__ = ["in_words_of_keras_2"]

_CLASSES = {
    **{f"Convolution{n}D": f"Conv{n}D" for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": f"Conv{n}DTranspose" for n in (1, 2, 3)},
    **{f"Convolution{n}DTranspose": f"Conv{n}DTranspose" for n in (1, 2, 3)},
    **{f"SeparableConvolution{n}D": f"SeparableConv{n}D" for n in (1, 2)},
    **{f"AtrousConvolution{n}D": f"Conv{n}D" for n in (1, 2)},
    **{f"{how}Pool{n}D": f"{how}Pooling{n}D" for how in ("Max", "GlobalMax") for n in (1, 2, 3)},
    **{
        f"{how}Pool{n}D": f"{how}Pooling{n}D".replace("Avg", "Average")
        for how in ("Avg", "GlobalAvg")
        for n in (1, 2, 3)
    },
    "Deconvolution2D": "Conv2DTranspose",
    "DepthwiseConvolution2D": "DepthwiseConv2D",
    "Model": "Functional",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "LSTMV2": "LSTM",
    "GRUV2": "GRU",
    "GRUV1": "GRU",
    "MaxoutDense": "?MaxoutDense",
}
_SETTINGS = {
    "output_dim": "units",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
    "inner_activation": "recurrent_activation",
    "bias": "use_bias",
    "W_regularizer": "kernel_regularizer",
    "U_regularizer": "recurrent_regularizer",
    "b_regularizer": "bias_regularizer",
    "pool_length": "pool_size",
    "stride": "strides",
    "p": "rate",
    "length": "size",
    "mode": "mode",
}
_ORDERS = {"tf": "channels_last", "th": "channels_first", "default": "channels_last"}
_EMBEDDINGS = ("Embedding",)


def in_words_of_keras_2(class_name: str, settings: Mapping[str, Any], version: int) -> tuple[str, Mapping[str, Any]]:
    """The class and its settings as Keras 2 would write them."""
    class_name = _CLASSES.get(class_name, class_name)
    if version != 1 or class_name in ("Sequential", "Functional"):
        return class_name, settings
    found = {
        _SETTINGS.get(key, key) if class_name not in _EMBEDDINGS else key: value for key, value in settings.items()
    }
    if "dim_ordering" in settings:
        found["data_format"] = _ORDERS.get(str(settings["dim_ordering"]), "channels_last")
    rows_and_columns = [settings[key] for key in ("kernel_dim1", "kernel_dim2", "kernel_dim3") if key in settings]
    rows_and_columns = rows_and_columns or [settings[key] for key in ("nb_row", "nb_col") if key in settings]
    if rows_and_columns:
        found["kernel_size"] = rows_and_columns
    if class_name == "Merge":
        found["mode"] = settings.get("mode")
    return _merging(class_name, settings), found


def _merging(class_name: str, settings: Mapping[str, Any]) -> str:
    if class_name != "Merge":
        return class_name
    names = {"sum": "Add", "mul": "Multiply", "concat": "Concatenate", "ave": "Average", "max": "Maximum"}
    return names.get(str(settings.get("mode")), f"Merge of {settings.get('mode')}")
