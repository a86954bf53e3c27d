"""A child process: files of a size that matters, written into a scratch folder."""

import json
import struct
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file


def tensors(count: int, rows: int, columns: int) -> dict[str, torch.Tensor]:
    """Dense layers of one shape, with their biases, so that no name has to be guessed."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for index in range(count):
        made[f"stack.{index}.weight"] = torch.randn(rows, columns, generator=generator) / columns**0.5
        made[f"stack.{index}.bias"] = torch.zeros(rows)
    return made


def sparse(path: Path, count: int, rows: int, columns: int) -> None:
    """A safetensors file whose numbers are a hole: it takes no room on the disk."""
    header, offset = {}, 0
    for index in range(count):
        end = offset + 4 * rows * columns
        header[f"stack.{index}.weight"] = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [offset, end]}
        offset = end
    words = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(words)) + words)
        file.truncate(8 + len(words) + offset)


def main(folder: str, rows: str, columns: str) -> None:
    """Write ``large.safetensors``, ``large.pt`` (legacy), a tiny one of each, and ``sparse.safetensors``."""
    place, shape = Path(folder), (int(rows), int(columns))
    place.mkdir(parents=True, exist_ok=True)
    for stem, made in (("tiny", tensors(1, 16, 8)), ("large", tensors(3, *shape))):
        save_file(made, place / f"{stem}.safetensors")
        torch.save(made, place / f"{stem}.pt", _use_new_zipfile_serialization=False)
    sparse(place / "sparse.safetensors", 64, 2048, 2048)


if __name__ == "__main__":
    main(*sys.argv[1:])
