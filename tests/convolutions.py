"""Examples of convolutions for the contract of kinds: three maps each, against the module's own forward."""

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmd.testing import Example

__all__ = ["convolution_examples"]

Matrices = dict[str, Tensor]
Pairs = Iterator[tuple[Tensor, Tensor]]


def data(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def linear_part(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module(x) - module(torch.zeros_like(x))


def sides(module: nn.Module) -> list[tuple[int, int]]:
    """Padding before and after, axis by axis, as torch documents it."""
    if module.padding == "same":
        totals = [d * (k - 1) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
        return [(t // 2, t - t // 2) for t in totals]
    return [(0, 0) if module.padding == "valid" else (n, n) for n in _numbers(module)]


def _numbers(module: nn.Module) -> tuple[int, ...]:
    return module.padding if not isinstance(module.padding, str) else (0,) * len(module.kernel_size)


def patches(x: Tensor, module: nn.Module) -> Tensor:
    """Every patch a convolution reads, ``(batch, in * k, positions)``, taken one by one: slow and obvious."""
    flat = [n for pair in reversed(sides(module)) for n in pair]
    x = functional.pad(x, flat, **({} if module.padding_mode == "zeros" else {"mode": module.padding_mode}))
    for axis, (size, stride, dilation) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True), start=2
    ):
        x = x.unfold(axis, dilation * (size - 1) + 1, stride)
    spatial = len(module.kernel_size)
    for axis, dilation in enumerate(module.dilation):
        index = torch.arange(0, x.shape[2 + spatial + axis], dilation)
        x = x.index_select(2 + spatial + axis, index)
    order = (0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial))
    return x.permute(order).flatten(1, 1 + spatial).flatten(2)


def stuffed_patches(x: Tensor, module: nn.Module) -> Tensor:
    """The patches of a transposed convolution: zeros stuffed between the inputs, stride 1, every dilation."""
    spatial = len(module.kernel_size)
    size = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], module.stride, strict=True)]
    stuffed = x.new_zeros(*x.shape[:2], *size)
    stuffed[(slice(None), slice(None), *[slice(None, None, s) for s in module.stride])] = x
    # output padding adds rows at the end, that read zeros first
    stuffed = functional.pad(stuffed, [n for o in reversed(module.output_padding) for n in (0, o)])
    reader = nn.Module()
    reader.kernel_size, reader.dilation, reader.stride = module.kernel_size, module.dilation, (1,) * spatial
    reader.padding_mode = "zeros"
    reader.padding = tuple(
        d * (k - 1) - p for d, k, p in zip(module.dilation, module.kernel_size, module.padding, strict=True)
    )
    return patches(stuffed, reader)


def periodic(module: nn.Module, x: Tensor, coarse: list[int]) -> Tensor:
    """The module on a torus, by its own forward on the unrolled torus: slow and obvious."""
    if module.transposed:
        return _periodic_transposed(module, x, coarse)
    spatial = len(module.kernel_size)
    extent = [d * (k - 1) + 1 for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    for axis, ((before, _), e) in enumerate(zip(sides(module), extent, strict=True), start=2):
        x = x.index_select(axis, torch.arange(-before, x.shape[axis] + e - before).remainder(x.shape[axis]))
    y = _bare(module)(x, module.weight, None, module.stride, 0, module.dilation, module.groups)
    return y[(slice(None), slice(None), *[slice(0, n) for n in coarse])][(slice(None),) * (2 + spatial)].detach()


def _periodic_transposed(module: nn.Module, x: Tensor, coarse: list[int]) -> Tensor:
    y = _bare(module)(x, module.weight, None, module.stride, 0, 0, module.groups, module.dilation).detach()
    for axis, (n, s, p) in enumerate(zip(coarse, module.stride, module.padding, strict=True), start=2):
        places = (torch.arange(y.shape[axis]) - p).remainder(n * s)
        y = y.new_zeros(*y.shape[:axis], n * s, *y.shape[axis + 1 :]).index_add_(axis, places, y)
    return y


def _bare(module: nn.Module) -> Callable[..., Tensor]:
    name = f"conv{'_transpose' if module.transposed else ''}{len(module.kernel_size)}d"
    return getattr(functional, name)


FREQUENCIES = {1: 64, 2: 16, 3: 8}


def convolution(module: nn.Module, matrices: Matrices, *, size: tuple[int, ...]) -> Pairs:
    spatial = len(module.kernel_size)
    x = data(2, module.in_channels, *size)
    read = stuffed_patches if module.transposed else patches
    y = linear_part(module, x)
    yield torch.einsum("oi,bip->bop", matrices["weight"], read(x, module)), y.flatten(2)
    if "operator" in matrices:
        yield x.flatten(1).double() @ matrices["operator"].T, y.flatten(1)
    if "symbol" in matrices:
        coarse = [max(1, FREQUENCIES[spatial] // s) for s in module.stride]
        torus = coarse if module.transposed else [n * s for n, s in zip(coarse, module.stride, strict=True)]
        z = data(2, module.in_channels, *torus)
        yield z.flatten(1).double() @ matrices["symbol"].T, periodic(module, z, coarse).flatten(1)


class Operator:
    """An example's check for inputs of one size."""

    def __init__(self, size: tuple[int, ...]) -> None:
        self.size = size

    def __call__(self, module: nn.Module, matrices: Matrices) -> Pairs:
        return convolution(module, matrices, size=self.size)


ALL = ("weight", "operator", "symbol")


def convolution_examples(seeded: Callable[[Callable[[], nn.Module]], nn.Module]) -> list[Example]:
    """One for every variant; ``seeded`` builds a module with random weights."""
    P = nn.utils.parametrizations
    builds: list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = [
        ("conv1d", lambda: nn.Conv1d(3, 4, 3, padding=1), (7,)),
        ("conv1d causal by dilation", lambda: nn.Conv1d(2, 2, 2, dilation=4, padding=4), (9,)),
        ("conv1d even, same", lambda: nn.Conv1d(3, 2, 4, padding="same"), (7,)),
        ("conv1d circular, strided", lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1, padding_mode="circular"), (8,)),
        ("conv2d valid", lambda: nn.Conv2d(2, 3, 3, padding="valid"), (5, 6)),
        ("conv2d strided", lambda: nn.Conv2d(3, 4, (3, 2), stride=2, padding=1), (7, 7)),
        ("conv2d dilated", lambda: nn.Conv2d(2, 3, 3, dilation=2, bias=False), (7, 7)),
        ("conv2d grouped", lambda: nn.Conv2d(4, 2, 3, groups=2), (6, 6)),
        ("conv2d depthwise", lambda: nn.Conv2d(2, 4, 3, groups=2, padding=1), (6, 5)),
        ("conv2d same, dilated", lambda: nn.Conv2d(2, 2, (3, 2), padding="same", dilation=(1, 3)), (6, 7)),
        ("conv2d circular", lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (5, 6)),
        ("conv2d reflect", lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"), (5, 6)),
        ("conv2d replicate, same", lambda: nn.Conv2d(3, 2, (3, 4), padding="same", padding_mode="replicate"), (5, 6)),
        ("conv3d", lambda: nn.Conv3d(1, 2, (1, 2, 3)), (3, 4, 4)),
        ("conv3d strided, replicate", lambda: nn.Conv3d(1, 2, 3, 2, 1, padding_mode="replicate"), (4, 4, 5)),
        ("conv transpose 1d", lambda: nn.ConvTranspose1d(3, 4, 3), (5,)),
        ("conv transpose 1d dilated", lambda: nn.ConvTranspose1d(2, 3, 3, 2, 1, 2, dilation=3), (5,)),
        ("conv transpose 2d strided", lambda: nn.ConvTranspose2d(3, 2, (4, 3), stride=2, padding=1), (5, 5)),
        ("conv transpose 2d padded out", lambda: nn.ConvTranspose2d(2, 2, 3, 2, 1, output_padding=1), (4, 5)),
        ("conv transpose 2d grouped", lambda: nn.ConvTranspose2d(4, 2, 3, groups=2, dilation=2), (5, 5)),
        ("conv transpose 3d", lambda: nn.ConvTranspose3d(2, 1, 2), (3, 3, 3)),
        ("weight norm of a convolution, old", lambda: _quiet(nn.utils.weight_norm, nn.Conv1d(3, 4, 2)), (7,)),
        ("spectral norm of a convolution", lambda: P.spectral_norm(nn.Conv2d(2, 3, 2)), (5, 5)),
        (
            "spectral norm of a transposed convolution, old",
            lambda: _quiet(nn.utils.spectral_norm, nn.ConvTranspose1d(3, 3, 2)),
            (5,),
        ),
    ]
    examples = [_example(name, seeded(build), size, ALL) for name, build, size in builds]
    linear: list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = [
        ("patch embedding", lambda: nn.Conv2d(3, 5, 4, stride=4), (8, 8)),
        ("pointwise convolution, strided", lambda: nn.Conv2d(3, 5, 1, stride=2), (5, 5)),
    ]
    return examples + [_example(name, seeded(build), size, ("weight",)) for name, build, size in linear]


def _example(name: str, module: nn.Module, size: tuple[int, ...], rows: tuple[str, ...]) -> Example:
    if module.padding == "same":
        # torch warns, once in a process, of the copy that an uneven padding costs
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore", UserWarning)
            module(torch.zeros(1, module.in_channels, *size))
    return Example(name, module, rows, Operator(size), input_shape=(module.in_channels, *size))


def _quiet(norm: Callable[..., nn.Module], module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old-style norms are what is tested
        return norm(module)
