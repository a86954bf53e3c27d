"""The rows of a stack of experts: each expert, their mean, and how far each is from it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from lmd.layers.convolutions.pooled import Pooled, as_computed
from lmd.layers.layer_matrix import Form, LayerMatrix
from lmd.sources.loaders import Combined, Loader
from lmd.sources.reading import Confidence

__all__ = ["ExpertLayout", "ExpertMaps", "expert_biases", "expert_maps", "expert_rows", "pooled_rows"]

_FEW_EXPERTS = 16
_MOST_READ = 1 << 30
"""Each deviation reads all experts: beyond a few experts, numbers read for all deviations together (some seconds)."""


@dataclass(frozen=True, slots=True)
class ExpertLayout:
    """How the matrices of a stack are stored.

    Attributes:
        confidence: how that is known.
        transposed: ``(experts, in, out)``.
        interleaved: whether rows of gate and up alternate.
        note: what a row is to say.
        others: what else may be.
    """

    confidence: Confidence
    transposed: bool = False
    interleaved: bool = False
    note: str = ""
    others: tuple[str, ...] = ("transposed",)


@dataclass(frozen=True, slots=True, eq=False)
class ExpertMaps:
    """One loader for each expert, which reads no other one, the form that makes its matrix, and the biases."""

    parts: Sequence[Loader]
    form: Form
    size: tuple[int, int]
    biases: Sequence[Loader] | None = None


def expert_maps(
    loader: Loader, layout: ExpertLayout, half: int | None = None, biases: Sequence[Loader] | None = None
) -> ExpertMaps:
    """The maps of a stack, or of one half of their outputs."""
    rows, columns = loader.shape[1:][::-1] if layout.transposed else loader.shape[1:]
    each: list[Loader] = [loader.narrow(0, e, 1) for e in range(loader.shape[0])]
    if half is not None:
        rows //= 2
        if not layout.interleaved:
            axis = 2 if layout.transposed else 1
            each = [part.narrow(axis, half * rows, rows) for part in each]
    strided = half if layout.interleaved else None
    return ExpertMaps(each, partial(_matrix, transposed=layout.transposed, half=strided), (rows, columns), biases)


def expert_biases(bias: Loader | None, layout: ExpertLayout, half: int | None = None) -> list[Loader] | None:
    """The bias of each expert, or of one half of its outputs; None without biases."""
    if bias is None:
        return None
    each: list[Loader] = [bias.narrow(0, e, 1) for e in range(bias.shape[0])]
    if half is None:
        return each
    last, size = len(bias.shape) - 1, bias.shape[-1] // 2
    if layout.interleaved:
        return [Combined(partial(_every_other, half=half), (part,), (1, size)) for part in each]
    return [part.narrow(last, half * size, size) for part in each]


def _every_other(bias: Tensor, *, half: int) -> Tensor:
    return bias.reshape(1, -1)[:, half::2]


def _matrix(stack: Tensor, *, transposed: bool, half: int | None) -> Tensor:
    matrix = stack[0].T if transposed else stack[0]
    return matrix if half is None else matrix[half::2]


def expert_rows(names: Sequence[str], maps: ExpertMaps, layout: ExpertLayout) -> Iterator[LayerMatrix]:
    """A row for each expert."""
    stored = "(experts, in, out)" if layout.transposed else "(experts, out, in)"
    others = () if layout.confidence != "guess" else layout.others
    note = "; ".join(text for text in (f"stored {stored}", layout.note) if text)
    for index, (name, part) in enumerate(zip(names, maps.parts, strict=True)):
        bias = None if maps.biases is None else maps.biases[index]
        yield LayerMatrix(
            name,
            "expert",
            maps.size,
            part,
            maps.form,
            confidence=layout.confidence,
            alternatives=others,
            note=note,
            bias=bias,
        )


def pooled_rows(mean: str, names: Sequence[str], maps: ExpertMaps, layout: ExpertLayout) -> Iterator[LayerMatrix]:
    """As views the mean expert and how far each is from it; what is left out of the latter is said in the former."""
    count, (rows, columns) = len(maps.parts), maps.size
    read = count * count * rows * columns
    shown = count if count <= _FEW_EXPERTS or read <= _MOST_READ else 0
    pool = _pool(maps, layout, names)
    note = f"mean of {count} experts"
    if not shown:
        note = (
            f"{note}; no deviations from it: all {count} are left out, as they would read {read:.1e} numbers; one is "
            f"the expert's row minus this one"
        )
    yield pool(mean, names[0], None, note)
    for index, name in enumerate(names[:shown]):
        yield pool(f"{name}.deviation", name, index, f"the expert minus the mean of {count}")


def _pool(
    maps: ExpertMaps, layout: ExpertLayout, names: Sequence[str]
) -> Callable[[str, str, int | None, str], LayerMatrix]:
    others = () if layout.confidence != "guess" else layout.others

    def row(name: str, of: str, index: int | None, note: str) -> LayerMatrix:
        bias = None if maps.biases is None else Pooled(tuple(maps.biases), _flat, (1, maps.size[0]), index)
        loader = Pooled(tuple(maps.parts), maps.form, maps.size, index)
        sure = layout.confidence
        return LayerMatrix(name, "expert", maps.size, loader, as_computed, 1, of, sure, others, note, bias)

    return row


def _flat(bias: Tensor) -> Tensor:
    return bias.reshape(1, -1)
