"""Small Hugging Face models as GGUF files, by the rules of the public converter, with the gguf package's own names."""

from pathlib import Path

import gguf
import numpy
import torch
from torch import nn


def write(path: Path, architecture: str, metadata: dict, tensors: dict, *, kind: str = "F32", **options) -> Path:
    """Tensors by ggml's names; matrices whose rows the type's blocks divide are quantised, as converters do."""
    writer = gguf.GGUFWriter(str(path), architecture, **options)
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(f"{architecture}.{key}", value)
        elif isinstance(value, int):
            writer.add_uint32(f"{architecture}.{key}", value)
        elif isinstance(value, float):
            writer.add_float32(f"{architecture}.{key}", value)
        elif isinstance(value, str):
            writer.add_string(f"{architecture}.{key}", value)
        else:
            writer.add_array(f"{architecture}.{key}", value)
    chosen = gguf.GGMLQuantizationType[kind]
    for name, tensor in tensors.items():
        array = numpy.ascontiguousarray(tensor.detach().float().numpy() if isinstance(tensor, torch.Tensor) else tensor)
        if kind != "F32" and array.ndim > 1 and array.shape[-1] % gguf.GGML_QUANT_SIZES[chosen][0] == 0:
            writer.add_tensor(name, gguf.quantize(array, chosen), raw_dtype=chosen)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rotated(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows ``(head, half, place)`` as ``(head, place, half)``."""
    width = weight.shape[0] // heads
    rows = [
        h * width + half * (width // 2) + place for h in range(heads) for place in range(width // 2) for half in (0, 1)
    ]
    return weight[rows]


def one_after_the_other(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows ``(head, part, place)`` as ``(part, head, place)``."""
    width = weight.shape[0] // heads // 3
    return weight[[(h * 3 + part) * width + i for part in range(3) for h in range(heads) for i in range(width)]]


def grouped(weight: torch.Tensor, heads: int, groups: int) -> torch.Tensor:
    """Rows of groups, queries then key then value, as all queries, all keys, all values."""
    each = heads // groups
    width = weight.shape[0] // groups // (each + 2)
    rows = [(g * (each + 2) + q) * width + i for g in range(groups) for q in range(each) for i in range(width)]
    for slot in (each, each + 1):
        rows += [(g * (each + 2) + slot) * width + i for g in range(groups) for i in range(width)]
    return weight[rows]


def ggml_tensors(model: nn.Module, architecture: str, layers: int, undo=None) -> dict[str, torch.Tensor]:
    """A model's parameters under ggml's names, each changed by ``undo(name, tensor)``; tied ones once."""
    words = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(words[architecture], layers)
    found = {}
    for name, tensor in model.named_parameters():
        for new, changed in (undo or _as_it_is)(name, tensor):
            word = table.get_name(new, try_suffixes=(".weight", ".bias"))
            assert word is not None, f"{architecture}: {new}"
            found[word] = changed
    return found


def _as_it_is(name, tensor):
    yield name, tensor
