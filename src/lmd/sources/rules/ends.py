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
    shape, settings = reading.shape, reading.settings or {}
    groups = settings.get("groups", 1)
    if reading.kind == "gate":
        width = settings["proj_size"] or settings["hidden_size"]
        return Ends(settings["input_size"], width * (1 + settings["bidirectional"]))
    if reading.kind == "query":
        return Ends(shape[0], shape[0])
    if reading.kind == "diagonal":
        return Ends(shape[-1], shape[-1])
    if reading.kind == "embedding":
        return Ends(0, shape[-1])
    if reading.kind in ("transposed_kernel_matrix", "transposed_dense"):
        return Ends(shape[0], shape[1] * groups)
    if reading.kind == "dense" and len(shape) == 3:
        return Ends(0, shape[0])
    return Ends(shape[1] * groups, shape[0]) if len(shape) > 1 else Ends()
