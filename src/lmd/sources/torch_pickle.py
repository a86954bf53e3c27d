"""The pickle inside a torch checkpoint, under the policy of ``torch.load(weights_only=True)``, without its numbers.

Storages are built on the meta device, so that unpickling costs no memory and each tensor remembers its place only.
"""

import pickle
import struct
import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO, Self

import torch
from torch import _utils

from lmd.sources.checkpoint_tree import Attributes
from lmd.sources.errors import UnsafeModelError
from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.pickle_scan import names_in_pickle

__all__ = ["MALFORMED", "ArrayState", "RestrictedPickle", "StoragePlace", "can_restrict"]

MALFORMED = (pickle.UnpicklingError, struct.error, BufferError, EOFError, *FOREIGN_FAULTS)
"""What a forged or damaged pickle makes the unpickler raise: it calls torch's rebuilders with what the file says."""


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """A part of one of the file's storages: ``start`` and ``nbytes`` count bytes inside storage ``key``."""

    key: str
    start: int
    nbytes: int


class ArrayState:
    """A NumPy array of the file: shape, type code and bytes, held without NumPy's own unpickling."""

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype = ""
        self.data = b""

    def __setstate__(self, state: Any) -> None:
        """Keep the state if it is a plain one: (version, shape, dtype, is_fortran, bytes)."""
        _, shape, dtype, fortran, data = state
        if not fortran and isinstance(dtype, _DtypeState) and isinstance(data, bytes):
            self.shape, self.dtype, self.data = tuple(int(n) for n in shape), dtype.code, data


class _DtypeState:
    def __init__(self, code: Any = "", *_: object) -> None:
        self.code = _ascii(code)

    def __setstate__(self, state: Any) -> None:
        if _ascii(state[1]) == ">":
            self.code = f">{self.code}"


class _Named:
    """Stands for a class that is only ever an argument; building one keeps nothing."""

    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


def _ascii(word: object) -> str:
    return word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)


_SCALARS = {"f8": "<d", "f4": "<f", "f2": "<e", "i8": "<q", "i4": "<i", "i2": "<h", "i1": "<b", "u1": "<B", "b1": "<?"}


def _scalar(dtype: object = None, data: object = b"") -> object:
    code = _SCALARS.get(dtype.code) if isinstance(dtype, _DtypeState) else None
    return struct.unpack(code, data)[0] if code and isinstance(data, bytes) else None


def _path(*parts: object) -> str:
    return "/".join(_ascii(part) for part in parts)


def _plain_dict(*_: object) -> dict[object, object]:
    return {}


_STAND_INS: list[Any] = [
    (Attributes, "argparse.Namespace"),
    (_plain_dict, "collections.defaultdict"),
    (str, "torch.torch_version.TorchVersion"),
    (_DtypeState, "numpy.dtype"),
    *((_path, f"pathlib.{name}") for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    *((_Named, f"builtins.{name}") for name in ("dict", "list", "int", "float", "str", "bool", "tuple")),
    *((_Named, f"numpy.{name}") for name in ("ndarray", "float64", "float32", "int64", "int32", "bool_")),
    *((_scalar, f"numpy.{package}.multiarray.scalar") for package in ("core", "_core")),
    *((ArrayState, f"numpy.{package}.multiarray._reconstruct") for package in ("core", "_core")),
]
"""Classes that real checkpoints hold beside their tensors and that weights_only refuses. Ours run in their place, so
that neither NumPy's nor anybody's constructors see the file's arguments."""


def can_restrict() -> bool:
    """Whether this torch has the restricted unpickler; it is private, so a future one may not."""
    return _unpickler_class() is not None


def _unpickler_class() -> Any:
    try:
        from torch._weights_only_unpickler import Unpickler
    except ImportError:
        return None
    return Unpickler


@dataclass(slots=True, eq=False)
class RestrictedPickle:
    """Reads the pickles of one file; ``places`` tells where each tensor's storage lies.

    Attributes:
        path: of the file, for messages.
        limit: bytes of the file; no storage can be larger.
        places: address of a storage to its place in the file.
        element_sizes: storage key to bytes of one element and number of elements, as the pickle declares them.
    """

    path: str
    limit: int
    places: dict[int, StoragePlace] = field(default_factory=dict)
    element_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    _storages: dict[StoragePlace, torch.UntypedStorage] = field(default_factory=dict)

    def load(self, stream: BinaryIO) -> Any:
        """The object that the next pickle of ``stream`` describes, its tensors on the meta device.

        Raises:
            UnsafeModelError: it names a class or function that could run code.
            MALFORMED: it is damaged.
        """
        start = stream.tell()
        sparse = getattr(_utils, "_sparse_tensors_to_validate", [])
        before = len(sparse)
        # torch and pickletools warn of what only old or damaged files hold; either they read it or they raise
        with warnings.catch_warnings(), torch.serialization.safe_globals(_STAND_INS):
            warnings.simplefilter("ignore")
            self._refuse_code(stream)
            stream.seek(start)
            unpickler = _unpickler_class()(stream, encoding="bytes")
            unpickler.persistent_load = self._storage
            try:
                return unpickler.load()
            finally:
                # torch.load of the user would check the values of ours, which have none
                del sparse[before:]

    def _refuse_code(self, stream: BinaryIO) -> None:
        for name in names_in_pickle(stream):
            if name not in _allowed_names():
                raise UnsafeModelError(
                    f"{self.path} is refused: reading it would call {name!r} from the file. Only files of tensors and "
                    "plain containers are read. Where the model's code is trusted, load it there and save "
                    "model.state_dict(), or export it as safetensors."
                )

    def _storage(self, pid: Any) -> torch.storage.TypedStorage:
        _, kind, raw_key, _, count, *view = pid
        dtype = torch.uint8 if kind is torch.UntypedStorage else kind.dtype
        key, element = _ascii(raw_key), dtype.itemsize
        self._check(count * element, element)
        if self.element_sizes.setdefault(key, (element, count))[0] * self.element_sizes[key][1] != count * element:
            raise ValueError(f"storage {key} is declared with two sizes")
        start, size = 0, count
        if view and view[0] is not None:
            _, start, size = view[0]
            self._check(start * element, element)
            self._check(size * element, element)
            if start + size > count:
                raise ValueError(f"a view leaves its storage {key}")
        untyped = self._untyped(StoragePlace(key, start * element, size * element), dtype)
        return torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)

    def _check(self, nbytes: Any, element: int) -> None:
        if type(nbytes) is not int or not 0 <= nbytes <= self.limit:
            raise ValueError(f"a storage of {nbytes} bytes in elements of {element} does not fit the file")

    def _untyped(self, place: StoragePlace, dtype: torch.dtype) -> torch.UntypedStorage:
        if place not in self._storages:
            # torch rebuilds quantised tensors on real devices only; the memory is never touched
            device = "cpu" if str(dtype).startswith(("torch.qu", "torch.qi")) else "meta"
            storage = torch.UntypedStorage(place.nbytes, device=device)
            self._storages[place] = storage
            self.places[storage._cdata] = place
        return self._storages[place]


@cache
def _allowed_names() -> frozenset[str]:
    from torch import _weights_only_unpickler

    of_torch = getattr(_weights_only_unpickler, "_get_allowed_globals", dict)()
    return frozenset(of_torch) | {name for _, name in _STAND_INS}
