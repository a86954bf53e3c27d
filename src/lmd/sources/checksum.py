"""SHA-256 of what a network was read from."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["sha256_of_files", "sha256_of_tensors"]

_PIECE = 2**20


def sha256_of_files(files: Iterable[str]) -> str:
    """Of one file its bytes; of several the lines ``<sha256>  <file name>``, as ``sha256sum`` writes them, by name.

    Raises:
        OSError: a file cannot be read.
    """
    paths = sorted(files, key=os.path.basename)
    if len(paths) == 1:
        return _sha256_of_file(paths[0])
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{_sha256_of_file(path)}  {os.path.basename(path)}\n".encode())
    return digest.hexdigest()


def _sha256_of_file(path: str) -> str:
    digest = hashlib.sha256()
    # one buffer for all pieces: freed ones may stay with the process
    piece = memoryview(bytearray(_PIECE))
    with open(path, "rb", buffering=0) as file:
        while length := file.readinto(piece):
            digest.update(piece[:length])
    return digest.hexdigest()


def sha256_of_tensors(tensors: Mapping[str, "Tensor"]) -> str:
    """Of each tensor, in order of the names: name, type, shape and bytes (row-major, little-endian).

    A tensor without numbers (on the meta device, sparse or quantised) counts by name, type and shape.
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if tensor.device.type == "meta" or tensor.layout is not torch.strided or tensor.is_quantized:
            continue
        flat = tensor.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        step = max(1, _PIECE // tensor.dtype.itemsize)
        for start in range(0, flat.numel(), step):
            # as bytes: NumPy knows no bfloat16
            digest.update(flat[start : start + step].view(torch.uint8).numpy().data)
    return digest.hexdigest()
