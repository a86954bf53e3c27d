"""Safetensors files: names, shapes and types from the header alone; numbers one tensor at a time."""

import os
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from lmd.sources.archive import Archive
from lmd.sources.depth_order import depth_key
from lmd.sources.errors import UnreadableModelError
from lmd.sources.file_head import first_bytes, looks_like
from lmd.sources.formats import source
from lmd.sources.reading import TensorRecord
from lmd.sources.tensor_names import without_wrappers

__all__ = ["read", "read_header"]

_DTYPES = {
    "BOOL": "bool",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
    "C64": "complex64",
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def read_header(path: str) -> Archive:
    """Read names, shapes and types; no number, and without torch.

    Raises:
        UnreadableModelError: not a whole safetensors file, or one without tensors.
    """
    path = os.path.abspath(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            stored = [(key, file.get_slice(key)) for key in file.offset_keys()]
            raw = [(key, tuple(part.get_shape()), part.get_dtype()) for key, part in stored]
    except (SafetensorError, OSError, ValueError) as error:
        words = looks_like(path) if os.path.isfile(path) else "not a file; name a file or a folder with weights"
        raise UnreadableModelError(
            f"{path} cannot be read as safetensors ({error}); a file that starts with the format's header and holds "
            f"every byte it declares is needed. It is {words}."
        ) from error
    if not raw:
        raise UnreadableModelError(
            f"{path} is a safetensors file without tensors; a trained model holds at least one. Save it again."
        )
    return _archive(path, raw, metadata)


def _archive(path: str, raw: list[tuple[str, tuple[int, ...], str]], metadata: dict[str, str]) -> Archive:
    names = without_wrappers([key for key, _, _ in raw])
    records = tuple(
        TensorRecord(names[key], shape, _DTYPES.get(dtype, dtype.lower()), file_name=key if names[key] != key else "")
        for key, shape, dtype in raw
    )
    # the format's library writes tensors sorted by type and name: the order of the layers is lost
    records = tuple(sorted(records, key=lambda record: depth_key(record.name)))
    facts = {"format": "safetensors", "order": "by name", **({"metadata": dict(metadata)} if metadata else {})}
    return Archive(records, facts=facts, files=(path,))


def _accepts(path: Path) -> bool:
    if not path.is_file():
        return False
    head = first_bytes(str(path), 9)
    return path.suffix == ".safetensors" or (len(head) == 9 and head[8:] == b"{")


@source("safetensors", accepts=_accepts, header=read_header)
def read(path: str) -> Archive:
    """Read the header and give each tensor a loader that maps the file only while it reads.

    Raises:
        UnreadableModelError: not a whole safetensors file, or one without tensors.
    """
    from lmd.sources.loaders import SafetensorsTensor

    header = read_header(path)
    return replace(
        header,
        loaders={
            record.name: SafetensorsTensor(record.name, header.files[0], record.file_name or record.name, record.shape)
            for record in header.records
        },
    )
