"""One layer of each class, its arrays, and what it must give by the reference."""

import numpy as np

from tests.references import keras_layers as by_hand
from tests.sources.keras.case import Array, Case, draw, kernel_and_bias, plain, positive
from tests.sources.keras.convolution_cases import convolutions, pools, transposed


def cell(kernel: Array, recurrent: Array, *bias: Array, place: str = "cell", prefix: str = "lstm_cell/"):
    names = ("kernel", "recurrent_kernel", "bias")
    found = zip(names, (kernel, recurrent, *bias), strict=False)
    return tuple((f"{prefix}{name}", f"{place}/vars/{n}", array) for n, (name, array) in enumerate(found))


def activation(name: str, version: int) -> Case:
    key = f"{name} {version}" if name == "hard_sigmoid" else name
    return Case(f"activation {key}", "Activation", (7,), by_hand.ACTIVATIONS[key], (), {"activation": name}, (version,))


KERNEL, RECURRENT = draw(3, 16), draw(4, 16)
GATED = draw(3, 12), draw(4, 12)


def recurrent():
    bias, two = draw(16), draw(2, 12)
    lstm = cell(KERNEL, RECURRENT, bias)
    yield Case("lstm", "LSTM", (5, 3), lambda x, *w: by_hand.lstm(x, *w)[:, -1], lstm, {"units": 4})
    yield Case("lstm of steps", "LSTM", (5, 3), by_hand.lstm, lstm, {"return_sequences": True})
    yield Case(
        "lstm backwards",
        "LSTM",
        (5, 3),
        lambda x, *w: by_hand.lstm(x[:, ::-1], *w),
        lstm,
        {"return_sequences": True, "go_backwards": True},
    )
    yield Case(
        "lstm hard sigmoid",
        "LSTM",
        (5, 3),
        lambda x, *w: by_hand.lstm(x, *w, gate="hard_sigmoid 2")[:, -1],
        lstm,
        {"recurrent_activation": "hard_sigmoid", "activation": "tanh"},
        (2,),
    )
    yield Case(
        "gru",
        "GRU",
        (5, 3),
        lambda x, *w: by_hand.gru(x, *w, reset_after=True),
        cell(*GATED, two, prefix="gru_cell/"),
        {"reset_after": True, "return_sequences": True},
    )
    yield Case(
        "gru reset before",
        "GRU",
        (5, 3),
        lambda x, *w: by_hand.gru(x, *w, reset_after=False, act="relu")[:, -1],
        cell(*GATED, draw(12), prefix="gru_cell/"),
        {"reset_after": False, "activation": "relu"},
    )
    yield Case(
        "simple rnn",
        "SimpleRNN",
        (5, 3),
        lambda x, *w: by_hand.simple_rnn(x, *w)[:, -1],
        cell(draw(3, 4), draw(4, 4), draw(4), prefix=""),
    )
    yield Case(
        "rnn of a cell",
        "RNN",
        (5, 3),
        by_hand.lstm,
        lstm,
        {"cell": {"class_name": "LSTMCell", "config": {"name": "lstm_cell", "units": 4}}, "return_sequences": True},
    )


def directions():
    first, second = (draw(3, 16), draw(4, 16), draw(16)), (draw(3, 16), draw(4, 16), draw(16))
    arrays = (
        *cell(*first, place="forward_layer/cell", prefix="forward_lstm/lstm_cell/"),
        *cell(*second, place="backward_layer/cell", prefix="backward_lstm/lstm_cell/"),
    )
    merges = {
        "concat": lambda a, b: np.concatenate([a, b], axis=-1),
        "sum": lambda a, b: a + b,
        "mul": lambda a, b: a * b,
        "ave": lambda a, b: (a + b) / 2,
    }
    for merge, function in merges.items():
        for steps in (True, False):

            def forward(x, *w, f=function, s=steps):
                ahead, back = by_hand.lstm(x, *w[:3]), by_hand.lstm(x[:, ::-1], *w[3:])
                return f(ahead, back[:, ::-1]) if s else f(ahead[:, -1], back[:, -1])

            inner = {"class_name": "LSTM", "config": {"name": "lstm", "units": 4, "return_sequences": steps}}
            settings = {"layer": inner, "merge_mode": merge}
            yield Case(f"both directions {merge} {steps}", "Bidirectional", (5, 3), forward, arrays, settings)


def norms():
    four = ("gamma", draw(3)), ("beta", draw(3)), ("moving_mean", draw(3)), ("moving_variance", positive(3))
    yield Case("batch norm", "BatchNormalization", (4, 5, 3), by_hand.batch_normalised, plain(*four), {"axis": [3]})
    yield Case(
        "batch norm of columns", "BatchNormalization", (3,), by_hand.batch_normalised, plain(*four), {"epsilon": 1e-3}
    )
    yield Case(
        "batch norm without scale",
        "BatchNormalization",
        (4, 3),
        lambda x, b, m, v: by_hand.batch_normalised(x, 1.0, b, m, v, epsilon=0.1),
        plain(*four[1:]),
        {"scale": False, "epsilon": 0.1},
    )
    yield Case(
        "batch norm without either",
        "BatchNormalization",
        (4, 3),
        lambda x, m, v: by_hand.batch_normalised(x, 1.0, 0.0, m, v),
        plain(*four[2:]),
        {"scale": False, "center": False},
    )
    yield Case("layer norm", "LayerNormalization", (4, 3), by_hand.layer_normalised, plain(*four[:2]), {"axis": [2]})
    yield Case(
        "layer norm without shift",
        "LayerNormalization",
        (4, 3),
        lambda x, g: by_hand.layer_normalised(x, g, 0.0),
        plain(four[0]),
        {"center": False},
    )
    yield Case(
        "group norm",
        "GroupNormalization",
        (4, 5, 6),
        lambda x, g, b: by_hand.group_normalised(x, g, b, groups=3),
        plain(("gamma", draw(6)), ("beta", draw(6))),
        {"groups": 3},
    )
    yield Case(
        "unit norm",
        "UnitNormalization",
        (4, 3),
        lambda x: x / np.sqrt((x**2).sum(-1, keepdims=True)),
        (),
        {"axis": -1},
    )
    yield Case(
        "standardised",
        "Normalization",
        (4, 3),
        lambda x, m, v, c: (x - m) / np.sqrt(v),
        plain(("mean", draw(3)), ("variance", positive(3)), ("count", np.array(9, dtype=np.int64))),
        {"axis": [-1]},
    )


def shapes():
    yield Case("flatten", "Flatten", (3, 4, 2), lambda x: x.reshape(len(x), -1))
    yield Case("reshape", "Reshape", (3, 4), lambda x: x.reshape(len(x), 2, 6), (), {"target_shape": [2, -1]})
    yield Case("permute", "Permute", (3, 4, 2), lambda x: x.transpose(0, 3, 1, 2), (), {"dims": [3, 1, 2]})
    yield Case("repeat", "RepeatVector", (4,), lambda x: np.repeat(x[:, None], 3, 1), (), {"n": 3})
    yield Case(
        "zeros around",
        "ZeroPadding2D",
        (3, 4, 2),
        lambda x: by_hand.padded(x, [(1, 2), (0, 3)]),
        (),
        {"padding": [[1, 2], [0, 3]]},
    )
    yield Case("cropping", "Cropping2D", (5, 6, 2), lambda x: x[:, 1:-2, 2:-1], (), {"cropping": [[1, 2], [2, 1]]})
    yield Case("zeros before", "ZeroPadding1D", (4, 2), lambda x: by_hand.padded(x, [(2, 1)]), (), {"padding": [2, 1]})
    yield Case("upsampling", "UpSampling2D", (3, 2, 2), lambda x: by_hand.upsampled(x, (2, 3)), (), {"size": [2, 3]})
    yield Case("mean of all", "GlobalAveragePooling2D", (3, 4, 2), lambda x: x.mean((1, 2)))
    yield Case(
        "largest of all", "GlobalMaxPooling1D", (4, 2), lambda x: x.max(1, keepdims=True), (), {"keepdims": True}
    )
    yield Case("rescaling", "Rescaling", (4,), lambda x: x * 0.5 - 1, (), {"scale": 0.5, "offset": -1.0})
    yield Case(
        "relu with settings",
        "ReLU",
        (40,),
        lambda x: np.where(x >= 1.0, 1.0, np.where(x >= 0.5, x, 0.1 * (x - 0.5))),
        (),
        {"max_value": 1.0, "threshold": 0.5, "negative_slope": 0.1},
    )
    yield Case("leaky", "LeakyReLU", (9,), lambda x: np.where(x > 0, x, 0.3 * x), (), {"alpha": 0.3}, (2,))
    yield Case("leaky 3", "LeakyReLU", (9,), lambda x: np.where(x > 0, x, 0.1 * x), (), {"negative_slope": 0.1}, (3,))
    yield Case("elu", "ELU", (9,), lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1)), (), {"alpha": 0.7})
    yield Case("softmax", "Softmax", (4, 3), lambda x: by_hand.softmax(x, 1), (), {"axis": 1})
    slope = draw(1, 1, 3)
    yield Case("prelu", "PReLU", (4, 5, 3), lambda x, a: np.where(x > 0, x, a * x), plain(("alpha", slope)))
    yield Case("prelu of places", "PReLU", (2, 3), lambda x, a: np.where(x > 0, x, a * x), plain(("alpha", draw(2, 3))))


def dense():
    yield Case("dense", "Dense", (5,), by_hand.dense, kernel_and_bias(5, 4))
    yield Case("dense at every step", "Dense", (3, 5), by_hand.dense, kernel_and_bias(5, 4), {"activation": "linear"})
    yield Case(
        "dense without bias",
        "Dense",
        (5,),
        lambda x, k: np.maximum(by_hand.dense(x, k), 0),
        plain(("kernel", draw(5, 4))),
        {"use_bias": False, "activation": "relu"},
    )
    yield Case(
        "einsum",
        "EinsumDense",
        (3, 5),
        lambda x, k, b: np.einsum("abc,cde->abde", x, k) + b,
        plain(("kernel", draw(5, 2, 3)), ("bias", draw(2, 3))),
        {"equation": "abc,cde->abde", "bias_axes": "de"},
    )
    yield Case(
        "einsum of other axes",
        "EinsumDense",
        (3, 5),
        lambda x, k: np.einsum("abc,bd->adc", x, k),
        plain(("kernel", draw(3, 4))),
        {"equation": "abc,bd->adc"},
    )
    inner = {"class_name": "Conv2D", "config": {"name": "conv", "kernel_size": [2, 2]}}
    yield Case(
        "conv at every step",
        "TimeDistributed",
        (3, 5, 4, 2),
        lambda x, k, b: np.stack([by_hand.convolution(x[:, t], k, b) for t in range(x.shape[1])], axis=1),
        tuple((name, f"layer/{place}", array) for name, place, array in kernel_and_bias(2, 2, 2, 3)),
        {"layer": inner},
    )


CASES = [
    *(activation(name, 3) for name in by_hand.ACTIVATIONS if " " not in name),
    activation("hard_sigmoid", 3),
    *dense(),
    *convolutions(),
    *transposed(),
    *pools(),
    *recurrent(),
    *directions(),
    *norms(),
    *shapes(),
]
