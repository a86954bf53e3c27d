"""What an HDF5 file holds, as the child process described it and as its size allows."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from lmd.sources.errors import UnreadableModelError
from lmd.sources.isolation.limits import Limits
from lmd.sources.isolation.reader_process import ReaderProcess
from lmd.sources.keras.hdf5.window import Place
from lmd.sources.reading import TensorRecord

if TYPE_CHECKING:
    from lmd.sources.loaders import Loader

__all__ = ["CHILD", "LIMITS", "Contents", "DataSet", "contents_of", "refuse_without_library"]

CHILD = "lmd.sources.keras.hdf5.child"
LIMITS = Limits(seconds=4.5, memory=2 << 30)
"""Thousands of arrays are described in a second or two: a small file that takes longer is made to."""
_MOST_EXPANSION = 100
_MOST_OF_SMALL = 64 << 20
"""Bytes that a file may unpack to, however small it is."""
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16, "bool": 1} | {
    f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True, slots=True)
class DataSet:
    """An array of numbers of the file.

    Attributes:
        path: its name with those of its groups, ``model_weights/dense/dense/kernel:0``.
        shape: as stored.
        dtype: torch's word.
        place: of the HDF5 file.
        offset: of the first byte within the file on disk; None where only the library can read the numbers.
        stored_as: the path in the file, which Keras wrote with backslashes under Windows.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    place: Place
    offset: int | None = None
    stored_as: str = ""

    @property
    def name(self) -> str:
        """The last part of the path, without the number that TensorFlow adds."""
        return self.path.rpartition("/")[2].partition(":")[0]

    def loader(self, name: str, shape: tuple[int, ...] | None = None) -> "Loader":
        """What reads it, in a shape of as many elements."""
        from lmd.sources.keras.hdf5.stored import loader_of

        return loader_of(self, name, self.shape if shape is None else shape)


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """One HDF5 file.

    Attributes:
        groups: path to the attributes that Keras writes.
        data_sets: by path, in the order of the file.
        others: what holds no numbers: path, shape and what it holds, in words.
        in_order: whether the order of the file is that in which it was written.
        inside: path of a group to the names of the groups in it.
        held: path of a group to the arrays directly in it.
    """

    groups: Mapping[str, Mapping[str, Any]]
    data_sets: Mapping[str, DataSet]
    others: tuple[tuple[str, tuple[int, ...], str], ...]
    in_order: bool
    inside: Mapping[str, list[str]]
    held: Mapping[str, list[DataSet]]

    def without_numbers(self) -> list[TensorRecord]:
        """Records of what holds no numbers."""
        return [
            TensorRecord(
                path.replace("/", "."), shape, "none", "buffer", f"it holds {holds}, no array of numbers", path
            )
            for path, shape, holds in self.others
        ]

    def below(self, group: str) -> list[DataSet]:
        """Every array below a group."""
        found, waiting = [], [group]
        while waiting:
            place = waiting.pop()
            found += self.held.get(place, ())
            waiting += reversed([f"{place}/{name}".lstrip("/") for name in self.inside.get(place, ())])
        return found


def refuse_without_library() -> None:
    """HDF5 needs its library.

    Raises:
        UnreadableModelError: h5py is not installed.
    """
    if importlib.util.find_spec("h5py") is None:
        raise UnreadableModelError("HDF5 files are read by h5py, which is not here; pip install 'lmd[keras]'.")


def contents_of(place: Place, reader: ReaderProcess) -> Contents:
    """Ask what the file holds, and check that its numbers lie within it.

    Raises:
        UnreadableModelError: it is damaged, or holds no numbers.
        UnsafeModelError: it points at other files.
    """
    told = reader.ask("describe", about=place.file, work=os.path.getsize(place.file), place=place.as_json())
    arrays = [_data_set(entry, place) for entry in told["data_sets"]]
    data_sets = {array.path: array for array in arrays}
    _refuse_bomb(arrays, place)
    if not data_sets:
        raise UnreadableModelError(
            f"{place.file} is an HDF5 file without arrays of numbers; a trained model holds at least one. Save it "
            "again."
        )
    groups = {_with_slashes(entry["path"]): entry["attributes"] for entry in told["groups"]}
    for path in [*groups, *data_sets]:
        while path := path.rpartition("/")[0]:
            if path in groups:
                break
            groups[path] = {}
    inside: dict[str, list[str]] = {}
    held: dict[str, list[DataSet]] = {}
    for path in filter(None, groups):
        above, _, name = path.rpartition("/")
        inside.setdefault(above, []).append(name)
    for path, array in data_sets.items():
        held.setdefault(path.rpartition("/")[0], []).append(array)
    others = tuple((_with_slashes(one["path"]), tuple(one["shape"]), one["holds"]) for one in told["others"])
    return Contents(groups, data_sets, others, told["in_order"], inside, held)


def _refuse_bomb(arrays: list[DataSet], place: Place) -> None:
    """Packed zeros, or one array linked many times, would fill the memory from a small file."""
    declared = sum(prod(array.shape) * _BYTES[array.dtype] for array in arrays)
    size = os.path.getsize(place.file)
    allowed = max(_MOST_EXPANSION * size, _MOST_OF_SMALL)
    if declared > allowed:
        raise UnreadableModelError(
            f"{place.file} of {size} bytes declares arrays of {declared} bytes in all; up to {allowed} are allowed, as "
            f"trained weights hardly shrink when they are packed. Save the model again without compression."
        )


def _data_set(entry: Mapping[str, Any], place: Place) -> DataSet:
    path, shape, offset = _with_slashes(entry["path"]), tuple(entry["shape"]), entry["offset"]
    length = prod(shape) * _BYTES[entry["dtype"]]
    size = os.path.getsize(place.file) if place.length is None else place.length
    if place.unpacked is not None or offset is None:
        return DataSet(path, shape, entry["dtype"], place, stored_as=entry["path"])
    if offset + length > size:
        raise UnreadableModelError(
            f"data set {entry['path'][:200]!r} of {place.file} ends at byte {offset + length} of {size}; the "
            f"file is cut short or damaged. Fetch or save it again."
        )
    return DataSet(path, shape, entry["dtype"], place, place.start + offset, entry["path"])


def _with_slashes(path: str) -> str:
    return path.replace("\\", "/")
