"""Convolutions and pooling, and what they must give by the reference."""

from tests.references import keras_layers as by_hand
from tests.sources.keras.case import Case, draw, kernel_and_bias, plain


def convolutions():
    for padding, strides, dilation in (
        ("valid", 1, 1),
        ("same", 1, 1),
        ("same", 2, 1),
        ("valid", 2, 1),
        ("same", 1, 2),
    ):
        for axes, size in ((1, (9,)), (2, (7, 6)), (3, (5, 4, 6))):
            if axes == 3 and dilation > 1:
                continue
            settings = {"padding": padding, "strides": [strides] * axes, "dilation_rate": [dilation] * axes}
            options = {"padding": padding, "strides": (strides,) * axes, "dilation": (dilation,) * axes}
            yield Case(
                f"conv {axes}d {padding} stride {strides} dilation {dilation}",
                f"Conv{axes}D",
                (*size, 2),
                lambda x, k, b, o=options: by_hand.convolution(x, k, b, **o),
                kernel_and_bias(*(3, 2, 2)[:axes], 2, 4),
                {**settings, "kernel_size": [3, 2, 2][:axes]},
            )
            if axes < 3:
                yield Case(
                    f"depthwise {axes}d {padding} stride {strides} dilation {dilation}",
                    f"DepthwiseConv{axes}D",
                    (*size, 3),
                    lambda x, k, b, o=options: by_hand.depthwise(x, k, b, **o),
                    plain(("depthwise_kernel", draw(*(3, 3)[:axes], 3, 2)), ("bias", draw(6))),
                    {**settings, "kernel_size": [3, 3][:axes], "depth_multiplier": 2},
                )
                yield separable(axes, size, settings, options)
    yield Case(
        "conv in groups",
        "Conv2D",
        (5, 5, 4),
        lambda x, k, b: by_hand.convolution(x, k, b, groups=2),
        kernel_and_bias(3, 3, 2, 6),
        {"groups": 2, "activation": "linear"},
    )
    yield Case(
        "causal conv",
        "Conv1D",
        (8, 3),
        lambda x, k, b: by_hand.convolution(x, k, b, padding="causal", dilation=(2,)),
        kernel_and_bias(3, 3, 5),
        {"padding": "causal", "dilation_rate": [2]},
    )


def separable(axes, size, settings, options) -> Case:
    arrays = plain(
        ("depthwise_kernel", draw(*(3, 3)[:axes], 3, 2)),
        ("pointwise_kernel", draw(*(1, 1)[:axes], 6, 5)),
        ("bias", draw(5)),
    )

    def forward(x, d, p, b):
        return by_hand.convolution(by_hand.depthwise(x, d, **options), p, b)

    words = " ".join(str(v) for v in options.values())
    return Case(f"separable {axes}d {words}", f"SeparableConv{axes}D", (*size, 3), forward, arrays, settings)


def transposed():
    for padding in ("valid", "same"):
        for stride, kernel in ((1, 3), (2, 3), (2, 4), (3, 2), (2, 2)):
            for axes in (1, 2):
                yield Case(
                    f"transposed {axes}d {padding} {stride} {kernel}",
                    f"Conv{axes}DTranspose",
                    (*(4, 3)[:axes], 3),
                    lambda x, k, b, s=(stride,) * axes, p=padding: by_hand.transposed(x, k, b, strides=s, padding=p),
                    kernel_and_bias(*(kernel,) * axes, 5, 3, bias=5),
                    {"padding": padding, "strides": [stride] * axes},
                )


def pools():
    for how in ("max", "mean"):
        for padding in ("valid", "same"):
            for stride in (1, 2):
                name = "Max" if how == "max" else "Average"
                yield Case(
                    f"{name} pooling {padding} {stride}",
                    f"{name}Pooling2D",
                    (7, 6, 3),
                    lambda x, s=stride, p=padding, h=how: by_hand.pool(x, (3, 2), (s, s), p, h),
                    (),
                    {"pool_size": [3, 2], "strides": [stride, stride], "padding": padding},
                )
