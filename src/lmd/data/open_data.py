"""One door for everything that data come in."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from lmd.data.errors import UnreadableDataError
from lmd.data.examples import Examples
from lmd.data.preparation import Layout, Preparation, number
from lmd.data.readers.columns import Header, from_columns
from lmd.data.readers.memory import from_batches, from_tensor
from lmd.data.table import Table
from lmd.sources.users_code import function_of

__all__ = ["How", "open_data"]

_PIECE = 1 << 20
_KNOWN = (
    ".npy, .npz, .idx or -ubyte (.gz), .csv, .tsv (.gz), .parquet, a folder of pictures, a picture, or .txt with a "
    "tokenizer"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How data are to be read; every field is an option of ``open_data`` and of the command line.

    Attributes:
        targets: a file (or tensor) of targets, one for each example.
        label: the column of a table that holds the targets, by name or index; below 0 from the last.
        header: whether the first line of a text table holds names.
        layout: whether pictures are stored with channels last, ``HWC``, or first.
        scale: factor of all inputs, such as ``1/255``.
        mean: taken away after scaling, one number or one for each channel.
        std: divided by after that.
        transform: the user's own function from a batch to a batch, or ``FILE.py:FUNCTION``.
        rows: use the first examples only.
        tokenizer: of a text: the model's folder, its tokenizer.json, or tok*.bin of llama2.c.
        length: tokens in one example of a text.
    """

    targets: Any = None
    label: str | int | None = None
    header: Header = "auto"
    layout: Layout = "CHW"
    scale: str | float | None = None
    mean: Sequence[str | float] | str | float = ()
    std: Sequence[str | float] | str | float = ()
    transform: str | Callable[[Tensor], Tensor] | None = None
    rows: int | None = None
    tokenizer: str | Path | None = None
    length: int = 128

    def __post_init__(self) -> None:
        """Refuse what is no option before anything is read."""
        choices: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("header", ("auto", "yes", "no")),
            ("layout", ("HWC", "CHW")),
        )
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} must be one of {', '.join(allowed)}.")
        for name in ("rows", "length"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name}={value!r} must be a whole number from 1.")
        if self.targets is not None and self.label is not None:
            raise ValueError("targets and label exclude each other: a file of targets, or a column of the data.")
        if any(value == 0 for value in _numbers(self.std)):
            raise ValueError("std holds a 0, and nothing can be divided by it; give 1 for channels that do not vary.")


def open_data(source: Any, **how: Any) -> Examples:
    """Examples from wherever they lie; files are streamed, never held as a whole.

    Args:
        source: a tensor or array, a pair of inputs and targets, a DataLoader or any iterable of batches, or a path:
            ``.npy``, ``.npz``, idx, CSV, Parquet, a folder of pictures or a text.
        **how: the fields of ``How``.

    Raises:
        UnreadableDataError: the data are missing, damaged, empty or no numbers.
        UnsafeDataError: reading them would run code or fill the memory.
        ValueError: an option does not fit.
        ImportError: the library of a format is missing.

    Example:
        >>> import torch
        >>> examples = open_data(torch.arange(12.0).reshape(4, 3), targets=torch.tensor([0, 1, 1, 0]), scale=0.5)
        >>> examples.count, [len(batch.inputs) for batch in examples.batches(3)]
        (4, [3, 1])
    """
    if isinstance(source, Examples):
        if how:
            raise ValueError(f"{', '.join(how)} came with data that are open already; give them to open_data.")
        return source
    chosen = How(**how)
    if isinstance(source, tuple) and len(source) == 2 and all(isinstance(s, Tensor | numpy.ndarray) for s in source):
        source, chosen = source[0], replace(chosen, targets=source[1])
    table = _table(source, chosen)
    if chosen.label is not None and table.form not in ("csv", "parquet"):
        raise ValueError(f"label={chosen.label!r} names a column, and {table.name} has none; give targets instead.")
    targets, classes = _own_targets(chosen, table)
    transform = chosen.transform
    if isinstance(transform, str):
        transform = function_of(transform, "transform", "takes a batch and returns one")
    preparation = Preparation(
        layout=chosen.layout,
        scale=None if chosen.scale is None else number(chosen.scale),
        mean=_numbers(chosen.mean),
        std=_numbers(chosen.std),
        transform=transform,
    )
    count = table.count if chosen.rows is None else min(chosen.rows, table.count)
    told = _told(chosen, preparation)
    found = Examples(table, preparation, count, targets, classes or table.classes, told)
    return replace(found, fingerprint=_fingerprint(found, chosen))


def _table(source: Any, how: How) -> Table:
    if isinstance(source, str | Path):
        return _from_path(Path(source), how)
    if isinstance(source, Tensor | numpy.ndarray):
        return from_tensor(source)
    if isinstance(source, Iterable) and not isinstance(source, Mapping | bytes):
        return from_batches(source, type(source).__name__)
    raise TypeError(
        f"data is of type {type(source).__name__}; give a tensor, an array, a DataLoader, an iterable of batches, or a "
        f"path."
    )


def _from_path(path: Path, how: How) -> Table:
    if not path.exists():
        raise UnreadableDataError(f"{path} does not exist; give a file or a folder of data: {_KNOWN}.")
    name = path.name.lower().removesuffix(".gz")
    if path.is_dir() or name.endswith((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm")):
        from lmd.data.readers.pictures import from_pictures

        return from_pictures(path)
    if path.stat().st_size == 0:
        raise UnreadableDataError(f"{path.name} is empty; give a file with at least one example.")
    if name.endswith((".csv", ".tsv", ".parquet")):
        return from_columns(path, how.label, how.header)
    if name.endswith(("-ubyte", ".idx", ".ubyte")):
        from lmd.data.readers.idx import from_idx

        return from_idx(path)
    if path.name.lower().endswith((".npy", ".npz")):
        from lmd.data.readers.arrays import from_npy, from_npz

        return (from_npy if name.endswith(".npy") else from_npz)(path)
    if name.endswith((".txt", ".md", ".text")):
        from lmd.data.readers.texts import from_text

        return from_text(path, how.tokenizer, how.length)
    raise UnreadableDataError(f"{path.name} is of no known form; give {_KNOWN}.")


def _own_targets(how: How, table: Table) -> tuple[Tensor | None, tuple[str, ...]]:
    if how.targets is None:
        return None, ()
    held = _read_targets(how)
    targets, classes = (held, ()) if isinstance(held, Tensor) else held
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if len(targets) != table.count:
        raise ValueError(
            f"the targets have {len(targets):,} entries and {table.name} {table.count:,} examples; give one for each."
        )
    return targets, classes


def _read_targets(how: How) -> Tensor | tuple[Tensor, tuple[str, ...]]:
    if not isinstance(how.targets, str | Path):
        parts = from_tensor(how.targets, "targets").pieces(1 << 30)
        return next(parts)[0]
    path = Path(how.targets)
    columns = path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet"))
    if columns:
        from lmd.data.readers.columns import targets_of

        return targets_of(path, how.header)
    table = _from_path(path, How(header=how.header))
    return torch.cat([inputs for inputs, _ in table.pieces(1 << 16)])


def _numbers(given: Sequence[str | float] | str | float) -> tuple[float, ...]:
    if isinstance(given, str):
        given = given.split(",")
    return (number(given),) if isinstance(given, int | float) else tuple(number(word) for word in given)


def _told(how: How, preparation: Preparation) -> dict[str, Any]:
    """The options that were given, as an atlas keeps them."""
    told: dict[str, Any] = {
        "label": how.label,
        "header": None if how.header == "auto" else how.header,
        "layout": None if how.layout == "CHW" else how.layout,
        "scale": preparation.scale,
        "mean": list(preparation.mean) or None,
        "std": list(preparation.std) or None,
        "rows": how.rows,
    }
    if how.targets is not None:
        told["targets"] = Path(how.targets).name if isinstance(how.targets, str | Path) else "given"
    if how.transform is not None:
        told["transform"] = how.transform if isinstance(how.transform, str) else how.transform.__qualname__
    if how.tokenizer is not None:
        told |= {"tokenizer": Path(how.tokenizer).name, "length": how.length}
    return {key: value for key, value in told.items() if value is not None}


def _fingerprint(examples: Examples, how: How) -> str:
    """SHA-256 of the bytes of files, or of the examples; with targets, options and the user's function."""
    digest = hashlib.sha256(json.dumps(dict(examples.how), sort_keys=True).encode())
    files = [Path(file) for file in examples.table.files]
    files += [Path(how.targets)] if isinstance(how.targets, str | Path) else []
    files += [Path(how.transform.rpartition(":")[0])] if isinstance(how.transform, str) else []
    for file in files:
        digest.update(f"\0{file.name}\0".encode())
        with file.open("rb") as held:
            while piece := held.read(_PIECE):
                digest.update(piece)
    if not examples.table.files:
        for inputs, own in examples.table.pieces(1024):
            for tensor in (inputs, own):
                if tensor is not None:
                    _add(digest, tensor)
    if isinstance(examples.targets, Tensor):
        _add(digest, examples.targets)
    return digest.hexdigest()


def _add(digest: Any, tensor: Tensor) -> None:
    digest.update(f"\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
    if tensor.numel():
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
