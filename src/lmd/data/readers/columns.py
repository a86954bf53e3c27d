"""Tables of columns: CSV and Parquet, one row for each example, one column perhaps its target."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy
import torch
from torch import Tensor

from lmd.data.errors import UnreadableDataError, UnsafeDataError
from lmd.data.table import Piece, Table

if TYPE_CHECKING:
    import pandas

__all__ = ["Header", "from_columns", "targets_of"]

Header = Literal["auto", "yes", "no"]
_LONGEST_LINE = 64 << 20
_CELLS = 1 << 21
"""Of a frame in memory."""
_MOST_CLASSES = 100_000
_FAMILIES = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}

Frames = Callable[[int], "Iterator[pandas.DataFrame]"]


@dataclass(frozen=True, slots=True)
class _Target:
    """Which column holds the targets, and how its words become numbers."""

    index: int | None
    classes: tuple[str, ...] = ()


def from_columns(path: Path, label: str | int | None, header: Header) -> Table:
    """Numbers in columns, all of them inputs but the column of the targets.

    Args:
        path: a ``.csv``, ``.tsv`` or ``.parquet`` file; text may be gzipped.
        label: name or index of the target's column; an index below 0 counts from the last.
        header: whether the first line of text holds names; found out by ``auto``.

    Raises:
        UnreadableDataError: damaged, rows of different lengths, or cells that are no numbers.
        ImportError: pandas or pyarrow are missing.
    """
    parquet = path.suffix == ".parquet"
    names, frames = _parquet(path) if parquet else _csv(path, header)
    index = _index(label, names, path.name)
    if len(names) - (index is not None) < 1:
        raise UnreadableDataError(f"{path.name} has no column but the target's; give the inputs as columns too.")
    count, classes = _surveyed(frames, index, path.name, max(1, _CELLS // len(names)))
    target = _Target(index, classes)

    def pieces(size: int) -> Iterator[Piece]:
        first = 0
        for frame in frames(size):
            yield _piece(frame, target, path.name, first)
            first += len(frame)

    inputs = tuple(name for i, name in enumerate(names) if i != index)
    form = "parquet" if parquet else "csv"
    return Table(path.name, count, (len(inputs),), pieces, index is not None, classes, form, (str(path),), inputs)


def _index(label: str | int | None, names: Sequence[str], file: str) -> int | None:
    if label is None:
        return None
    if str(label) in names and not isinstance(label, int):
        return list(names).index(str(label))
    try:
        index = int(label)
    except ValueError:
        index = len(names)
    if not -len(names) <= index < len(names):
        some = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise ValueError(
            f"label={label!r} is no column of {file}; it has {len(names)}: {some}; give a name, or an index "
            f"from {-len(names)} to {len(names) - 1}."
        )
    return index % len(names)


def _surveyed(frames: Frames, index: int | None, file: str, size: int) -> tuple[int, tuple[str, ...]]:
    """Number of rows, and the names of the classes if the targets are words."""
    count, seen = 0, set()
    words = False
    for frame in frames(size):
        count += len(frame)
        if index is None:
            continue
        column = frame.iloc[:, index]
        words = words or column.dtype.kind not in "biuf"
        seen.update(column.astype(str).unique().tolist() if words or len(seen) <= _MOST_CLASSES else ())
    if count == 0:
        raise UnreadableDataError(f"{file} has no rows; give at least one example.")
    if words and len(seen) > _MOST_CLASSES:
        raise UnreadableDataError(
            f"{file}: the targets are {len(seen):,} different words; classes are needed, or numbers: choose another "
            f"--label."
        )
    return count, tuple(sorted(seen)) if words else ()


def _piece(frame: "pandas.DataFrame", target: _Target, file: str, first: int) -> Piece:
    kept = frame if target.index is None else frame.drop(frame.columns[target.index], axis=1)
    wrong = [name for name, dtype in kept.dtypes.items() if dtype.kind not in "biuf"]
    if wrong:
        raise UnreadableDataError(_no_number(kept, wrong[0], file, first))
    whole = all(dtype.kind in "biu" for dtype in kept.dtypes)
    inputs = torch.from_numpy(kept.to_numpy(numpy.int64 if whole else numpy.float64, copy=True))
    return inputs, None if target.index is None else _targets(frame, target, file)


def _targets(frame: "pandas.DataFrame", target: _Target, file: str) -> Tensor:
    assert target.index is not None
    column: Any = frame.iloc[:, target.index]
    if column.isna().any():
        raise UnreadableDataError(f"{file} has rows without a target; fill them in or leave the rows out.")
    if target.classes:
        numbers = {word: number for number, word in enumerate(target.classes)}
        return torch.tensor([numbers[word] for word in column.astype(str)])
    return torch.from_numpy(column.to_numpy(numpy.int64 if column.dtype.kind in "biu" else numpy.float64, copy=True))


def _no_number(kept: "pandas.DataFrame", name: object, file: str, first: int) -> str:
    import pandas

    column: Any = kept[name]
    numbers: Any = pandas.to_numeric(column, errors="coerce")
    row = int(numbers.isna().to_numpy().argmax())
    return (
        f"{file}, row {first + row + 1}, column {name!r} holds {str(column.iloc[row])[:40]!r}, which is no number; "
        f"choose it with --label if it is the target, or encode it as numbers."
    )


def _pandas() -> None:
    try:
        import pandas  # noqa: F401 - only whether it is there
    except ImportError as missing:
        raise ImportError("CSV and Parquet need pandas; install it with: pip install 'lmd[data]'.") from missing


def _csv(path: Path, header: Header) -> tuple[list[str], Frames]:
    _pandas()
    import pandas

    separator = "\t" if ".tsv" in path.suffixes else ","
    named, first = _first_line(path, separator, header)
    names = [str(name).strip() for name in first] if named else [str(i) for i in range(len(first))]

    def frames(size: int) -> "Iterator[pandas.DataFrame]":
        try:
            with _lines(path) as text:
                yield from pandas.read_csv(
                    text,
                    sep=separator,
                    header=0 if named else None,
                    names=names,
                    chunksize=size,
                    index_col=False,
                    on_bad_lines="error",
                    encoding="utf-8",
                )
        except (pandas.errors.ParserError, pandas.errors.ParserWarning, UnicodeDecodeError, csv.Error) as fault:
            raise UnreadableDataError(
                f"{path.name} is no table that can be read: {str(fault).strip()}; each line needs {len(names)} "
                f"cells, separated by {'tabs' if separator != ',' else 'commas'}."
            ) from fault
        except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
            raise UnreadableDataError(f"{path.name} cannot be unpacked: {fault}; fetch it again.") from fault

    return _unique(names, path.name), frames


def _unique(names: list[str], file: str) -> list[str]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UnreadableDataError(
            f"{file} has two columns called {twice!r}; rename one, or say --header no if the first line is an example."
        )
    return names


def _first_line(path: Path, separator: str, header: Header) -> tuple[bool, list[str]]:
    try:
        with _lines(path) as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            rows = [row for row, _ in zip(csv.reader(text, delimiter=separator), range(2), strict=False)]
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise UnreadableDataError(
            f"{path.name} is no table of text that can be read: {fault}; save it again."
        ) from fault
    if not rows or not rows[0]:
        raise UnreadableDataError(f"{path.name} is empty; give a table with one row for each example.")
    if header != "auto":
        return header == "yes", rows[0]
    words = [not _is_number(cell) for cell in rows[0]]
    below = [not _is_number(cell) for cell in rows[1]] if len(rows) > 1 else [False] * len(words)
    # a word above a number is a name; words above words alone are classes of two examples
    return any(word and not other for word, other in zip(words, below, strict=False)), rows[0]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True


class _Bounded(io.RawIOBase):
    """Bytes of a text whose lines are of a bearable length."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name, self._since = file, name, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        held = self._file.read(len(buffer))
        end = held.rfind(b"\n")
        self._since = len(held) - end - 1 if end >= 0 else self._since + len(held)
        if self._since > _LONGEST_LINE:
            raise UnsafeDataError(
                f"{self._name} has a line of more than {_LONGEST_LINE >> 20} MB; a table has one line for each "
                f"example: this is no table, or an attack on memory."
            )
        buffer[: len(held)] = held
        return len(held)

    def close(self) -> None:
        self._file.close()
        super().close()


def _lines(path: Path) -> IO[bytes]:
    file: Any = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115 - closed with its reader
    return io.BufferedReader(_Bounded(file, path.name), 1 << 16)


def _parquet(path: Path) -> tuple[list[str], Frames]:
    _pandas()
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as missing:
        raise ImportError("Parquet needs pyarrow; install it with: pip install 'lmd[data]'.") from missing
    faults = (pyarrow.ArrowException, OSError)
    try:
        names = list(pyarrow.parquet.read_schema(path).names)
    except faults as fault:
        raise UnreadableDataError(
            f"{path.name} is no Parquet file that can be read: {fault}; save it again."
        ) from fault

    def frames(size: int) -> "Iterator[pandas.DataFrame]":
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                yield from (batch.to_pandas() for batch in file.iter_batches(size))
        except faults as fault:
            raise UnreadableDataError(f"{path.name} cannot be read: {fault}; save it again.") from fault

    return _unique([str(name) for name in names], path.name), frames


def targets_of(path: Path, header: Header) -> tuple[Tensor, tuple[str, ...]]:
    """The one column of a table of targets, as numbers or as classes with names.

    Raises:
        UnreadableDataError: more than one column, or as ``from_columns``.
    """
    names, frames = _parquet(path) if path.suffix == ".parquet" else _csv(path, header)
    if len(names) != 1:
        raise UnreadableDataError(
            f"{path.name} has {len(names)} columns; a file of targets needs one: keep that, or use --label."
        )
    _, classes = _surveyed(frames, 0, path.name, _CELLS)
    parts = [_targets(frame, _Target(0, classes), path.name) for frame in frames(_CELLS)]
    return torch.cat(parts), classes
