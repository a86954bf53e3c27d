"""Small GGUF files of every sort: architectures, block types, byte orders, metadata."""

import random
from pathlib import Path

import gguf
import numpy

__all__ = ["gguf_seeds"]

_BLOCKS = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XS", "IQ3_S", "IQ1_M", "IQ4_XS", "TQ1_0", "NVFP4", "Q8_K")


def gguf_seeds(folder: Path) -> list[Path]:
    """Write them."""
    little, big = gguf.GGUFEndian.LITTLE, gguf.GGUFEndian.BIG
    return [
        _llama(folder / "llama.gguf", "Q8_0", {}),
        _llama(folder / "experts.gguf", "Q4_0", {"expert_count": 2, "expert_used_count": 1}),
        _every_block(folder / "blocks.gguf"),
        _plain(folder / "little.gguf", little),
        _plain(folder / "big.gguf", big),
    ]


def _finished(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _llama(path: Path, kind: str, more: dict[str, int]) -> Path:
    writer, draw = gguf.GGUFWriter(str(path), "llama"), numpy.random.default_rng(0)
    sizes = {"block_count": 1, "embedding_length": 32, "feed_forward_length": 64, "context_length": 16}
    for key, value in {**sizes, "attention.head_count": 4, "attention.head_count_kv": 2, **more}.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_token_list([f"token{index}" for index in range(40)])
    writer.add_token_scores([0.0] * 40)
    shapes = {"token_embd": (40, 32), "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32)}
    shapes |= {"blk.0.attn_output": (32, 32), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,), "output_norm": (32,)}
    ends, stack = ("_exps", (2,)) if more else ("", ())
    for word, shape in (("gate", (64, 32)), ("up", (64, 32)), ("down", (32, 64))):
        shapes[f"blk.0.ffn_{word}{ends}"] = (*stack, *shape)
    for name, shape in shapes.items():
        numbers = draw.standard_normal(shape).astype(numpy.float32)
        chosen = gguf.GGMLQuantizationType[kind]
        if len(shape) > 1:
            writer.add_tensor(f"{name}.weight", gguf.quantize(numbers, chosen), raw_dtype=chosen)
        else:
            writer.add_tensor(f"{name}.weight", numbers)
    return _finished(writer, path)


def _every_block(path: Path) -> Path:
    writer, draw = gguf.GGUFWriter(str(path), "llama"), random.Random(0)
    for name in _BLOCKS:
        kind = gguf.GGMLQuantizationType[name]
        size = gguf.GGML_QUANT_SIZES[kind][1]
        blocks = numpy.frombuffer(draw.randbytes(2 * size), dtype=numpy.uint8).reshape(2, size)
        writer.add_tensor(f"some.{name}.weight", blocks, raw_dtype=kind)
    return _finished(writer, path)


def _plain(path: Path, order: gguf.GGUFEndian) -> Path:
    writer = gguf.GGUFWriter(str(path), "none", endianess=order)
    writer.add_array("none.sizes", [1, 2, 3])
    writer.add_string("general.name", "plain")
    writer.add_bool("none.trained", True)
    for index, kind in enumerate((numpy.float32, numpy.float16, numpy.float64, numpy.int8, numpy.int32, numpy.int64)):
        writer.add_tensor(f"layer{index}.weight", numpy.arange(12).reshape(3, 4).astype(kind))
    writer.add_tensor("conv.weight", numpy.ones((2, 3, 2, 2), numpy.float32))
    return _finished(writer, path)
