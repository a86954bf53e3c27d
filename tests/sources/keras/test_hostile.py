"""Files made to harm: refused with a word why, and nothing outside them is read."""

import json
import zipfile
import zlib

import h5py
import numpy as np
import pytest

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.keras.hdf5.contents import LIMITS
from lmd.sources.keras.keras_file import read
from tests.keras_files import chained, configured, write_archive, write_h5
from tests.sources.keras.case import draw

KERNEL = draw(3, 4)
ZEROS = zlib.compress(bytes(4 << 20), 9)
MODEL = chained([configured("Dense", "d", use_bias=False)], shape=(3,))


@pytest.fixture
def sound(tmp_path):
    return write_h5(tmp_path / "m.h5", MODEL, {"d": [("d/kernel:0", KERNEL)]})


def refused(path, fault, match):
    with pytest.raises(fault, match=match):
        read(str(path))


def test_an_external_link(sound, tmp_path):
    write_h5(tmp_path / "other.h5", None, {"d": [("kernel:0", KERNEL)]})
    with h5py.File(sound, "a") as file:
        file["model_weights/elsewhere"] = h5py.ExternalLink("other.h5", "/d")
    refused(sound, UnsafeModelError, "external link")


def test_a_soft_link(sound):
    with h5py.File(sound, "a") as file:
        file["model_weights/again"] = h5py.SoftLink("/model_weights/d")
    refused(sound, UnsafeModelError, "soft link")


def test_numbers_in_another_file(sound, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    with h5py.File(sound, "a") as file:
        file.create_dataset("outside", (12,), "f4", external=[("secret.bin", 0, 48)])
    refused(sound, UnsafeModelError, "from other files")


def test_a_virtual_data_set(sound):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "d", shape=(4,))
    with h5py.File(sound, "a") as file:
        file.create_virtual_dataset("virtual", layout)
    refused(sound, UnsafeModelError, "from other files")


def test_references(sound):
    with h5py.File(sound, "a") as file:
        file.create_dataset("pointers", data=[file["model_weights"].ref], dtype=h5py.ref_dtype)
    refused(sound, UnsafeModelError, "references")


def test_a_group_that_contains_itself(sound):
    with h5py.File(sound, "a") as file:
        file["model_weights/d/loop"] = file["model_weights"]
    refused(sound, UnreadableModelError, "contains itself")


@pytest.mark.parametrize("packed", [True, False])
def test_a_shape_without_numbers(sound, packed):
    options = {"chunks": (1024, 1024), "compression": "gzip"} if packed else {}
    with h5py.File(sound, "a") as file:
        file.create_dataset("bomb", (1 << 20, 1 << 20), "f4", **options)
    refused(sound, UnreadableModelError, "stores 0")


def test_groups_without_end(sound):
    with h5py.File(sound, "a") as file:
        group = file
        for _ in range(80):
            group = group.create_group("g")
    refused(sound, UnreadableModelError, "deep")


def test_links_that_make_millions_of_groups_from_a_few(sound):
    with h5py.File(sound, "a") as file:
        group = file
        for _ in range(40):
            above, group = group, group.create_group("a")
            above["b"] = group
    refused(sound, UnreadableModelError, r"m\.h5.*hold more than \d+ objects")


def test_a_small_file_is_given_up_after_some_seconds():
    assert LIMITS.allowed(100_000) < 5


def test_zeros_packed_to_nothing(sound):
    with h5py.File(sound, "a") as file:
        packed = file.create_dataset("bomb", (1 << 27,), "f4", chunks=(1 << 20,), compression="gzip")
        for start in range(0, 1 << 27, 1 << 20):
            packed.id.write_direct_chunk((start,), ZEROS)
    refused(sound, UnreadableModelError, r"m\.h5.* declares arrays of 5368709\d\d bytes")


def test_one_filter_many_times(sound):
    with h5py.File(sound, "a") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((4,))
        for _ in range(8):
            settings.set_deflate(9)
        h5py.h5d.create(file.id, b"often", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), settings)
        file["often"][:] = 1.0
    refused(sound, UnreadableModelError, r"m\.h5.*8 filters, one of them twice")


def test_a_configuration_of_millions_of_lists(tmp_path):
    entries = [("config.json", '{"a": [' + "[]," * 3_000_000 + "[]]}"), ("model.weights.h5", b"")]
    path = archive_with(tmp_path / "m.keras", entries, zipfile.ZIP_DEFLATED)
    refused(path, UnreadableModelError, r"m\.keras has about 6\d+ values")


def test_an_attribute_that_is_no_text(sound):
    with h5py.File(sound, "a") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = "[" * 100_000
    refused(sound, UnreadableModelError, "model_config")


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Sequential", "config": {"layers": []}},
        {"class_name": "Functional", "config": {"layers": [{}], "output_layers": [["x", 0, 0]]}},
        {"class_name": 7, "config": {}},
        {"config": {}},
    ],
)
def test_a_configuration_of_nothing(config, tmp_path):
    refused(write_h5(tmp_path / "m.h5", config, {"d": [("k", KERNEL)]}), UnreadableModelError, "configuration")


def test_settings_that_no_keras_writes_cost_the_run_alone(tmp_path):
    layers = [configured("Conv2D", "c", strides="wide", padding=[1]), configured("Reshape", "r", target_shape={"a": 1})]
    path = write_h5(tmp_path / "m.h5", chained(layers, shape=(4, 4, 2)), {"c": [("k", draw(2, 2, 2, 3))]})
    archive = read(str(path))
    assert not archive.skeleton.runs
    assert [record.name for record in archive.records] == ["c.k"]


def test_a_graph_that_bites_its_tail(tmp_path):
    def layer(name, before):
        node = [[[before, 0, 0, {}]]]
        return {"class_name": "Dense", "name": name, "config": {"name": name}, "inbound_nodes": node}

    config = {
        "class_name": "Functional",
        "config": {"layers": [layer("a", "b"), layer("b", "a")], "input_layers": [], "output_layers": [["b", 0, 0]]},
    }
    archive = read(str(write_h5(tmp_path / "m.h5", config, {"a": [("a/kernel:0", KERNEL), ("a/bias:0", draw(4))]})))
    assert archive.skeleton.unknown == ("the model cannot be run: its output 'b' is never made",)


def archive_with(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_an_archive_without_weights(tmp_path):
    refused(archive_with(tmp_path / "m.keras", [("config.json", json.dumps(MODEL))]), UnreadableModelError, "lacks")


def test_an_entry_outside_the_archive(tmp_path):
    path = write_archive(tmp_path / "m.keras", MODEL, {"layers/dense/vars/0": KERNEL})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../outside", b"")
    refused(path, UnsafeModelError, "outside the archive")


def test_an_entry_twice(tmp_path):
    path = write_archive(tmp_path / "m.keras", MODEL, {"layers/dense/vars/0": KERNEL})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    refused(path, UnreadableModelError, "twice")


def test_weights_that_unpack_to_far_more(tmp_path):
    entries = [("config.json", json.dumps(MODEL)), ("model.weights.h5", bytes(50 << 20))]
    path = archive_with(tmp_path / "m.keras", entries, zipfile.ZIP_DEFLATED)
    refused(path, UnreadableModelError, "what the packed bytes can hold")


def test_a_file_cut_short(sound):
    sound.write_bytes(sound.read_bytes()[:-100])
    refused(sound, UnreadableModelError, "truncated|cut short|reader")


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m.keras"])
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "an empty file; fetch"), (b"some words", "10 bytes starting"), (b"version https://git-lfs", "git lfs pull")],
)
def test_another_file_under_the_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, UnreadableModelError, rf"{name} is neither HDF5 nor .*it is .*{words}")


def test_a_user_block_moves_the_numbers(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w", userblock_size=1024) as file:
        file["d/weight"] = KERNEL
    archive = read(str(tmp_path / "m.h5"))
    assert np.array_equal(archive.loaders["d.weight"]().numpy(), KERNEL)
