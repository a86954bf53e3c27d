"""What a layer reads and what it writes: the widths of the data at its two ends."""

from dataclasses import dataclass

from lmd.sources.reading import Reading

__all__ = ["Ends", "ends_of"]


@dataclass(frozen=True, slots=True)
class Ends:
    """Widths of the data before and behind a layer; 0 where it has no such end or its shapes do not tell."""

    reads: int = 0
    writes: int = 0


def ends_of(reading: Reading | None) -> Ends:
    """The ends that a reading implies; a table of vectors is read by index and has only one."""
    if reading is None or not reading.shape:
        return Ends()
    return _BY_KIND.get(reading.kind, _forward)(reading)


def _forward(reading: Reading) -> Ends:
    outputs, *inputs = reading.shape
    if not inputs:
        return Ends()
    # a bilinear form reads two inputs
    bilinear = reading.kind == "dense" and len(inputs) > 1
    return Ends(0 if bilinear else inputs[0] * _groups(reading), outputs)


def _backward(reading: Reading) -> Ends:
    return Ends(reading.shape[0], reading.shape[1] * _groups(reading))


def _recurrent(reading: Reading) -> Ends:
    settings = reading.settings or {}
    width = settings["proj_size"] or settings["hidden_size"]
    return Ends(settings["input_size"], width * (1 + settings["bidirectional"]))


def _same(reading: Reading) -> Ends:
    # one slope for all channels tells nothing of them
    return Ends(reading.shape[-1], reading.shape[-1]) if reading.shape[-1] > 1 else Ends()


def _table(reading: Reading) -> Ends:
    return Ends(0, reading.shape[-1])


def _groups(reading: Reading) -> int:
    return (reading.settings or {}).get("groups", 1)


_BY_KIND = {
    "gate": _recurrent,
    "query": _same,
    "diagonal": _same,
    "embedding": _table,
    "transposed_dense": _backward,
    "transposed_kernel_matrix": _backward,
}
