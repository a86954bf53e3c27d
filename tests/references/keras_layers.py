"""Forward passes of Keras layers in plain NumPy, written from what Keras documents, slowly and entry by entry.

Every function takes and gives arrays in Keras's own layout: channels last, kernels ``(..., in, out)``.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

Array = np.ndarray

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "swish": lambda x: x / (1 + np.exp(-x)),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "selu": lambda x: 1.05070098 * np.where(x > 0, x, 1.67326324 * (np.exp(x) - 1)),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2))),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "mish": lambda x: x * np.tanh(np.log(1 + np.exp(x))),
    "hard_sigmoid 2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_sigmoid 3": lambda x: np.clip(x + 3, 0, 6) / 6,
    "softmax": lambda x: softmax(x, -1),
}


def erf(x: float) -> float:
    from math import erf as of_one

    return of_one(x)


def softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def dense(x: Array, kernel: Array, bias: Array | float = 0.0) -> Array:
    return np.einsum("...i,io->...o", x, kernel) + bias


def same_edges(size: int, reach: int, stride: int) -> tuple[int, int]:
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def padded(x: Array, edges: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    return np.pad(x, [(0, 0), *edges, (0, 0)], constant_values=value)


def edges_of(x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int], padding: str):
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    if padding == "same":
        return [same_edges(n, r, s) for n, r, s in zip(x.shape[1:-1], reach, strides, strict=True)]
    if padding == "causal":
        return [(r - 1, 0) for r in reach]
    return [(0, 0)] * len(reach)


def convolution(
    x: Array, kernel: Array, bias: Array | float = 0.0, *, strides=None, dilation=None, padding="valid", groups=1
) -> Array:
    """Kernel ``(..., in / groups, out)``."""
    axes = kernel.ndim - 2
    strides, dilation = strides or (1,) * axes, dilation or (1,) * axes
    size = kernel.shape[:axes]
    x = padded(x, edges_of(x, size, strides, dilation, padding))
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    counts = [(n - r) // s + 1 for n, r, s in zip(x.shape[1:-1], reach, strides, strict=True)]
    found = np.zeros((len(x), *counts, kernel.shape[-1]))
    share_in, share_out = kernel.shape[-2], kernel.shape[-1] // groups
    for place in product(*map(range, counts)):
        for offset in product(*map(range, size)):
            where = tuple(p * s + o * d for p, s, o, d in zip(place, strides, offset, dilation, strict=True))
            for group in range(groups):
                inputs = x[(slice(None), *where)][:, group * share_in : (group + 1) * share_in]
                outputs = slice(group * share_out, (group + 1) * share_out)
                found[(slice(None), *place)][:, outputs] += inputs @ kernel[offset][:, outputs]
    return found + bias


def depthwise(x: Array, kernel: Array, bias: Array | float = 0.0, **settings) -> Array:
    """Kernel ``(..., channels, times)``: output ``c * times + m`` reads channel ``c``."""
    channels, times = kernel.shape[-2:]
    parts = []
    for channel in range(channels):
        own = kernel[..., channel : channel + 1, :]
        parts.append(convolution(x[..., channel : channel + 1], own, **settings))
    assert len(parts) * times == channels * times
    return np.concatenate(parts, axis=-1) + bias


def transposed(x: Array, kernel: Array, bias: Array | float = 0.0, *, strides, padding="valid") -> Array:
    """The gradient of a convolution with regard to its input; kernel ``(..., out, in)``."""
    axes = kernel.ndim - 2
    size = kernel.shape[:axes]
    lengths = [
        n * s + max(k - s, 0) if padding == "valid" else n * s
        for n, s, k in zip(x.shape[1:-1], strides, size, strict=True)
    ]
    before = [
        0 if padding == "valid" else max((n - 1) * s + k - n * s, 0) // 2
        for n, s, k in zip(x.shape[1:-1], strides, size, strict=True)
    ]
    found = np.zeros((len(x), *lengths, kernel.shape[-2]))
    for place in product(*map(range, x.shape[1:-1])):
        for offset in product(*map(range, size)):
            where = tuple(p * s + o - b for p, s, o, b in zip(place, strides, offset, before, strict=True))
            if all(0 <= w < n for w, n in zip(where, lengths, strict=True)):
                found[(slice(None), *where)] += x[(slice(None), *place)] @ kernel[offset].T
    return found + bias


def pool(x: Array, size: Sequence[int], strides: Sequence[int], padding: str, how: str) -> Array:
    edges = edges_of(x, size, strides, (1,) * len(size), padding)
    filled = padded(x, edges, np.nan)
    counts = [(n - k) // s + 1 for n, k, s in zip(filled.shape[1:-1], size, strides, strict=True)]
    found = np.zeros((len(x), *counts, x.shape[-1]))
    for place in product(*map(range, counts)):
        window = filled[(slice(None), *(slice(p * s, p * s + k) for p, s, k in zip(place, strides, size, strict=True)))]
        axes = tuple(range(1, window.ndim - 1))
        found[(slice(None), *place)] = np.nanmax(window, axis=axes) if how == "max" else np.nanmean(window, axis=axes)
    return found


def batch_normalised(x: Array, gamma, beta, mean, variance, *, epsilon: float = 1e-3) -> Array:
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def layer_normalised(x: Array, gamma, beta, *, epsilon: float = 1e-3) -> Array:
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def group_normalised(x: Array, gamma, beta, *, groups: int, epsilon: float = 1e-3) -> Array:
    apart = x.reshape(*x.shape[:-1], groups, -1)
    axes = (*range(1, x.ndim - 1), x.ndim)
    mean, variance = apart.mean(axis=axes, keepdims=True), apart.var(axis=axes, keepdims=True)
    return gamma * ((apart - mean) / np.sqrt(variance + epsilon)).reshape(x.shape) + beta


def _over_time(x: Array, step, states, mask=None):
    output, outputs = np.zeros_like(states[0]), []
    for time in range(x.shape[1]):
        found = step(x[:, time], states)
        if mask is None:
            output, states = found[0], found
        else:
            there = mask[:, time, None]
            output = np.where(there, found[0], output)
            states = [np.where(there, new, old) for new, old in zip(found, states, strict=True)]
        outputs.append(output)
    return np.stack(outputs, axis=1), states


def lstm(x, kernel, recurrent, bias, *, gate="sigmoid", act="tanh", mask=None) -> Array:
    """Gates in the order input, forget, cell, output; every step."""
    units = recurrent.shape[0]
    sigma, tanh = ACTIVATIONS[gate], ACTIVATIONS[act]

    def step(x_t, states):
        h, c = states
        z = x_t @ kernel + h @ recurrent + bias
        i, f, g, o = (z[:, k * units : (k + 1) * units] for k in range(4))
        c = sigma(f) * c + sigma(i) * tanh(g)
        return [sigma(o) * tanh(c), c]

    return _over_time(x, step, [np.zeros((len(x), units))] * 2, mask)[0]


def gru(x, kernel, recurrent, bias, *, reset_after: bool, gate="sigmoid", act="tanh", mask=None) -> Array:
    """Gates in the order update, reset, candidate; every step. ``bias`` has two rows if ``reset_after``."""
    units = recurrent.shape[0]
    sigma, tanh = ACTIVATIONS[gate], ACTIVATIONS[act]
    cut = [slice(k * units, (k + 1) * units) for k in range(3)]

    def step(x_t, states):
        (h,) = states
        entering = x_t @ kernel + (bias[0] if reset_after else bias)
        staying = h @ recurrent + (bias[1] if reset_after else 0)
        z = sigma(entering[:, cut[0]] + staying[:, cut[0]])
        r = sigma(entering[:, cut[1]] + staying[:, cut[1]])
        if reset_after:
            candidate = tanh(entering[:, cut[2]] + r * staying[:, cut[2]])
        else:
            candidate = tanh(entering[:, cut[2]] + (r * h) @ recurrent[:, cut[2]])
        return [z * h + (1 - z) * candidate]

    return _over_time(x, step, [np.zeros((len(x), units))], mask)[0]


def simple_rnn(x, kernel, recurrent, bias, *, act="tanh", mask=None) -> Array:
    def step(x_t, states):
        return [ACTIVATIONS[act](x_t @ kernel + states[0] @ recurrent + bias)]

    return _over_time(x, step, [np.zeros((len(x), recurrent.shape[0]))], mask)[0]


def multi_head(query, value, key, weights, *, causal=False) -> Array:
    """``weights``: kernels ``(in, heads, width)`` and biases of query, key and value, then ``(heads, width, out)``."""
    wq, bq, wk, bk, wv, bv, wo, bo = weights
    q = np.einsum("nti,ihd->nthd", query, wq) + bq
    k = np.einsum("nti,ihd->nthd", key, wk) + bk
    v = np.einsum("nti,ihd->nthd", value, wv) + bv
    scores = np.einsum("nthd,nshd->nhts", q, k) / np.sqrt(wq.shape[2])
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    mixed = np.einsum("nhts,nshd->nthd", softmax(scores, -1), v)
    return np.einsum("nthd,hdo->nto", mixed, wo) + bo


def attention(query, value, key, scale=1.0) -> Array:
    return softmax(scale * np.einsum("ntd,nsd->nts", query, key), -1) @ value


def additive_attention(query, value, key, scale=1.0) -> Array:
    sums = np.tanh(query[:, :, None, :] + key[:, None, :, :])
    return softmax((scale * sums).sum(-1), -1) @ value


def upsampled(x: Array, size: Sequence[int]) -> Array:
    for axis, times in enumerate(size, 1):
        x = np.repeat(x, times, axis=axis)
    return x
