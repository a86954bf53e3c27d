import pickle

import gguf
import numpy
import pytest
import torch

from lmd.sources.gguf.architectures.changes import Entry, Reordered
from lmd.sources.gguf.architectures.row_orders import RowOrder
from lmd.sources.gguf.blocks.arithmetic import dequantised, in_own_order, known
from lmd.sources.gguf.blocks.block_rounding import rounding, rounding_known
from lmd.sources.gguf.blocks.block_tensor import BlockTensor
from lmd.sources.gguf.blocks.block_types import TYPES
from lmd.sources.gguf.gguf_file import read
from lmd.sources.loaders import Held
from lmd.sources.rounding import rounding_of
from tests.sources.gguf.converting import write

BLOCKS = {number: kind for number, kind in TYPES.items() if not kind.plain and known(kind.name)}
QUANTISED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")


def random_blocks(kind, shape, seed=0):
    generator = numpy.random.default_rng(seed)
    return generator.integers(0, 256, (*shape, 3 * kind.bytes), dtype=numpy.uint8)


def stored(folder, number, blocks):
    path = folder / "blocks.bin"
    path.write_bytes(b"before" + blocks.tobytes())
    size = (*blocks.shape[:-1], blocks.shape[-1] // TYPES[number].bytes * TYPES[number].elements)
    return BlockTensor("x", str(path), 6, number, size, (0,) * len(size), size)


def q8_k(blocks):
    """One block after the other, number by number."""
    out = []
    for block in blocks.reshape(-1, 292):
        scale = numpy.frombuffer(block[:4].tobytes(), "<f4")[0]
        out += [scale * numpy.float32(int(code) - 256 * (code > 127)) for code in block[4:260]]
    return numpy.array(out, dtype=numpy.float32).reshape(*blocks.shape[:-1], -1)


@pytest.mark.parametrize("number", BLOCKS, ids=lambda number: TYPES[number].name)
def test_numbers_are_the_packages_and_slices_are_slices(number, tmp_path):
    kind, blocks = TYPES[number], random_blocks(TYPES[number], (2, 5))
    loader = stored(tmp_path, number, blocks)
    with numpy.errstate(all="ignore"):
        wanted = q8_k(blocks) if kind.name == "Q8_K" else gguf.dequantize(blocks, gguf.GGMLQuantizationType[kind.name])
    assert numpy.array_equal(loader().numpy(), wanted, equal_nan=True)
    part = pickle.loads(pickle.dumps(loader.narrow(0, 1, 1).narrow(1, 2, 3).narrow(2, 7, 2 * kind.elements)))
    assert numpy.array_equal(part().numpy(), wanted[1:2, 2:5, 7 : 7 + 2 * kind.elements], equal_nan=True)
    noise = rounding_of(loader)
    assert noise is not None
    assert noise.shape == loader.shape
    whole, few = noise(), noise.narrow(2, 5, 40).narrow(1, 1, 2)()
    assert torch.equal(whole[:, 1:3, 5:45].nan_to_num(-1), few.nan_to_num(-1))
    assert (whole.nan_to_num(0) >= 0).all()


def test_every_type_that_is_read_tells_how_coarse_it_is():
    assert all(rounding_known(kind.name) for kind in BLOCKS.values())


@pytest.mark.parametrize("name", QUANTISED)
def test_the_stated_error_is_the_error_made(name):
    X = numpy.random.default_rng(1).standard_normal((64, 512)).astype(numpy.float32)
    blocks = gguf.quantize(X, gguf.GGMLQuantizationType[name])
    made = numpy.sqrt(((dequantised(blocks, name) - X) ** 2).sum() / (rounding(blocks, name) ** 2).sum())
    # ternary codes are too coarse for an even error
    assert (0.85 if name.startswith("TQ") else 0.95) < made < 1.05


@pytest.mark.parametrize("name", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ4_NL", "IQ4_XS", "NVFP4"])
def test_the_stated_error_follows_from_the_codes_that_a_block_can_hold(name):
    """All numbers that one position can take, over all codes, lie one stated step apart."""
    kind = next(kind for kind in TYPES.values() if kind.name == name)
    base = random_blocks(kind, (1,), seed=5)[:, : kind.bytes]
    seen = []
    for byte in range(256):
        tried = base.copy()
        tried[:, codes_of(name)] = byte
        if name in ("Q5_K", "Q3_K", "Q6_K"):
            tried[:, codes_of(name, high=True)] = base[:, codes_of(name, high=True)]
        seen.append(dequantised(tried, name)[0])
    gaps = numpy.diff(numpy.unique(numpy.array(seen)[:, 0]))
    step = rounding(base, name)[0, 0] * numpy.sqrt(12)
    assert 0 < gaps.min() * 0.99 <= step <= gaps.max() * 1.01


def codes_of(name, *, high=False):
    low = {
        "Q2_K": (16, 80),
        "Q3_K": (32, 96),
        "Q4_K": (16, 144),
        "Q5_K": (48, 176),
        "Q6_K": (0, 128),
        "Q8_K": (4, 260),
        "IQ4_NL": (2, 18),
        "IQ4_XS": (8, 136),
        "NVFP4": (4, 36),
    }
    others = {"Q3_K": (0, 32), "Q5_K": (16, 48), "Q6_K": (128, 192)}
    return slice(*(others if high else low)[name])


@pytest.mark.parametrize("name", ["Q8_0", "Q4_K", "Q6_K", "MXFP4"])
def test_blocks_of_the_other_byte_order_are_turned_round(name):
    kind = next(kind for kind in TYPES.values() if kind.name == name)
    assert kind.swapped is not None
    blocks = random_blocks(kind, (2,))
    turned = in_own_order(blocks, kind.bytes, kind.swapped)
    assert numpy.array_equal(in_own_order(turned, kind.bytes, kind.swapped), blocks)
    assert numpy.array_equal(turned, blocks) == (not kind.swapped)


def test_files_of_the_package_give_its_numbers(tmp_path):
    X = numpy.random.default_rng(2).standard_normal((8, 256)).astype(numpy.float32)
    for name in (*QUANTISED, "BF16", "F16"):
        kind = gguf.GGMLQuantizationType[name]
        archive = read(str(write(tmp_path / f"{name}.gguf", "none", {}, {"a.weight": X}, kind=name)))
        wanted = gguf.dequantize(gguf.quantize(X, kind), kind).reshape(X.shape)
        assert numpy.array_equal(archive.loaders["a.weight"]().float().numpy(), wanted)
        assert archive.records[0].shape == (8, 256)


@pytest.mark.parametrize("order", [RowOrder("rotated", 24, 3), RowOrder("heads", 24, 2), RowOrder("groups", 24, 4, 2)])
def test_rows_in_another_order_are_read_a_part_at_a_time(order):
    W = torch.arange(48.0).reshape(24, 2)
    loader = Reordered(Held("w", W), order, 0, 24)
    whole = loader()
    assert torch.equal(whole, W[[order.places(row) for row in range(24)]])
    assert torch.equal(whole.unique(dim=0), W)
    assert torch.equal(loader.narrow(0, 5, 11).narrow(1, 1, 1)(), whole[5:16, 1:])
    assert loader.narrow(0, 5, 0)().shape == (0, 2)


def test_one_entry_of_a_stack_reads_that_one_alone():
    W = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(Entry(Held("w", W), 1).narrow(0, 1, 2)(), W[1, 1:])
