import struct

import gguf
import numpy
import pytest

from lmd.layers.walk import walk
from lmd.sources.errors import UnreadableModelError
from lmd.sources.gguf.blocks.block_types import TYPES
from lmd.sources.gguf.gguf_file import read, read_header
from lmd.sources.gguf.header import read_head
from lmd.sources.open_network import open_network
from tests.sources.gguf.converting import write

W = numpy.arange(64, dtype=numpy.float32).reshape(2, 32)


def plain(folder, **options):
    return write(folder / "m.gguf", "none", {"size": 3, "sizes": [1, 2]}, {"a.weight": W, "b.weight": W + 1}, **options)


def changed(path, place, new):
    data = bytearray(path.read_bytes())
    data[place : place + len(new)] = new
    path.write_bytes(data)
    return path


def test_types_are_those_of_the_package():
    for number, kind in TYPES.items():
        known = gguf.GGMLQuantizationType(number)
        assert (known.name, *gguf.GGML_QUANT_SIZES[known]) == (kind.name, kind.elements, kind.bytes)
    assert {t.name for t in gguf.GGML_QUANT_SIZES} - {kind.name for kind in TYPES.values()} <= {"Q8_1"}


def test_axes_come_in_the_order_of_torch(tmp_path):
    archive = read(str(plain(tmp_path)))
    assert [(r.name, r.shape, r.dtype) for r in archive.records] == [
        ("a.weight", (2, 32), "float32"),
        ("b.weight", (2, 32), "float32"),
    ]
    assert (archive.loaders["b.weight"]().numpy() == W + 1).all()
    metadata = archive.facts["metadata"]
    assert metadata["none.size"] == 3
    assert metadata["none.sizes"] == [1, 2]


def test_both_byte_orders_and_both_versions_are_read(tmp_path):
    big = write(tmp_path / "big.gguf", "none", {"size": 3}, {"a": W}, endianess=gguf.GGUFEndian.BIG)
    archive = read(str(big))
    assert archive.facts["metadata"]["none.size"] == 3
    assert (archive.loaders["a"]().numpy() == W).all()
    assert (archive.loaders["a"].narrow(1, 3, 5)().numpy() == W[:, 3:8]).all()
    second = changed(plain(tmp_path), 4, struct.pack("<I", 2))
    assert read_head(str(second)).version == 2
    with pytest.raises(UnreadableModelError, match="version 1; versions 2 and 3"):
        read_head(str(changed(second, 4, struct.pack("<I", 1))))


def test_what_cannot_be_is_refused(tmp_path):
    path = plain(tmp_path)
    whole = path.read_bytes()
    place = whole.index(b"b.weight")
    told = place + len("b.weight")
    for at, new, words in (
        (0, b"GGML", "does not start with GGUF"),
        (8, struct.pack("<Q", 2**60), "tensors and"),
        (place, b"a", "two tensors of the name"),
        (told + 4, struct.pack("<Q", 2**40), "more numbers|places"),
        (told + 4, struct.pack("<QQ", 2**31, 2**31), "more numbers"),
        (told + 24, struct.pack("<Q", 7), "no multiple of its alignment"),
        (told + 24, struct.pack("<Q", 0), "in the same place"),
        (told + 24, struct.pack("<Q", 2**62), "places"),
        (told, struct.pack("<I", 99), "99 axes"),
    ):
        path.write_bytes(whole)
        with pytest.raises(UnreadableModelError, match=words):
            read_header(str(changed(path, at, new)))
    path.write_bytes(whole[:-4])
    with pytest.raises(UnreadableModelError, match=r"places 'b\.weight'"):
        read_header(str(path))
    path.write_bytes(whole[:80])
    with pytest.raises(UnreadableModelError, match="ends at byte 80"):
        read_header(str(path))
    with pytest.raises(UnreadableModelError, match="without tensors"):
        read_header(str(write(tmp_path / "empty.gguf", "llama", {}, {})))


def test_a_type_that_came_later_is_a_row_with_a_reason(tmp_path):
    path = plain(tmp_path)
    place = path.read_bytes().index(b"b.weight") + len("b.weight") + 20
    archive = read(str(changed(path, place, struct.pack("<I", 77))))
    assert set(archive.loaders) == {"a.weight"}
    assert "ggml type 77 is not known" in archive.records[1].reason


@pytest.mark.parametrize(
    ("number", "words"), [(9, "made for activations"), (31, "packed for one"), (38, "IQ4_NL_8_8"), (5, "Q4_3 blocks")]
)
def test_types_that_nobody_stores_have_their_own_reason(number, words, tmp_path):
    path = plain(tmp_path)
    place = path.read_bytes().index(b"b.weight") + len("b.weight") + 20
    reason = read(str(changed(path, place, struct.pack("<I", number)))).records[1].reason
    assert words in reason
    assert "convert the model to a type that is" in reason


def test_scales_of_a_big_endian_file_are_said(tmp_path):
    options = {"kind": "Q8_0", "endianess": gguf.GGUFEndian.BIG}
    network = open_network(write(tmp_path / "m.gguf", "none", {}, {"a.weight": numpy.ones((4, 32))}, **options))
    (row,) = walk(network).layers
    assert "a tool that left them little-endian" in row.note


def test_long_lists_are_counted_not_kept(tmp_path):
    writer = gguf.GGUFWriter(str(tmp_path / "v.gguf"), "llama")
    writer.add_token_list([f"token {i}" for i in range(5000)])
    writer.add_token_scores([0.5] * 5000)
    writer.add_float32("llama.scale", float("inf"))
    writer.add_tensor("token_embd.weight", W)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    told = read_head(str(tmp_path / "v.gguf")).metadata
    assert told["tokenizer.ggml.tokens"] == {"values": "strings", "count": 5000}
    assert told["tokenizer.ggml.scores"] == {"values": "f", "count": 5000}
    assert told["llama.scale"] == "inf"


def test_parts_of_a_model_are_opened_by_any_of_them(tmp_path):
    tensors = {f"layer{i}.weight": W + i for i in range(5)}
    write(tmp_path / "m.gguf", "none", {}, tensors, split_max_tensors=2)
    parts = sorted(tmp_path.iterdir())
    assert [part.name for part in parts] == [f"m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    for part in parts:
        archive = read(str(part))
        assert len(archive.files) == 3
        assert all((archive.loaders[name]().numpy() == W).all() for name, W in tensors.items())
    lonely = tmp_path / "lonely.gguf"
    lonely.write_bytes(parts[1].read_bytes())
    with pytest.raises(UnreadableModelError, match="found by their names"):
        read(str(lonely))
    parts[2].write_bytes(parts[1].read_bytes())
    with pytest.raises(UnreadableModelError, match="calls itself part 1 of 3"):
        read(str(parts[0]))
    parts[2].unlink()
    with pytest.raises(UnreadableModelError, match=r"m-00003-of-00003\.gguf is not beside it"):
        read(str(parts[0]))
