"""Arrays that are no plain real numbers: complex ones, text, records, and whole numbers with a scale."""

import h5py
import numpy as np
import pytest

import lmd
from lmd.layers.walk import walk
from lmd.sources.inspection import inspect_model
from lmd.sources.keras.weights.by_paths import snake_case
from lmd.sources.open_network import open_network
from tests.keras_files import chained, configured, write_archive, write_h5
from tests.sources.keras.case import draw

COMPLEX = (draw(5, 4) + 1j * draw(5, 4)).astype(np.complex64)
ODD = {
    "fields": np.zeros((2, 3), [("x", "f4"), ("y", "i4")]),
    "words": np.array([b"abc", b"d"]),
    "raw": np.zeros(3, "V3"),
    "empty": h5py.Empty("f4"),
    "type": np.dtype("f8"),
}


def rows(path):
    return {row.name: (row.kind, row.shape) for row in walk(open_network(path)).layers}


@pytest.mark.parametrize("order", ["<", ">"])
def test_complex_kernels_are_real_maps_of_twice_the_size(order, tmp_path):
    weights = {"d": [("d/kernel:0", COMPLEX.astype(f"{order}c8"))]}
    layer = configured("Dense", "d", use_bias=False)
    path = write_h5(tmp_path / "m.h5", chained([layer], shape=(5,)), weights)
    assert rows(path) == {"d": ("dense", (8, 10))}
    wanted = np.linalg.svd(COMPLEX, compute_uv=False)
    (found,) = lmd.decompose(path).rows()
    assert found["spectral_norm"] == pytest.approx(wanted[0], rel=1e-6)


@pytest.mark.parametrize("alone", [True, False], ids=["tensors in groups", "a model of Keras"])
def test_what_holds_no_numbers_has_a_row_with_its_reason(alone, tmp_path):
    path = tmp_path / "m.h5"
    if not alone:
        write_h5(path, chained([configured("Dense", "d", use_bias=False)], shape=(5,)), {"d": [("d/k:0", draw(5, 4))]})
    with h5py.File(path, "a") as file:
        file["other/weight"] = draw(3, 4)
        for name, content in ODD.items():
            file[f"{name}/weight"] = content
        file.create_dataset("lists", (2,), dtype=h5py.vlen_dtype("f4"))
    told = {tensor["name"]: tensor["reason"] for tensor in inspect_model(str(path))["coverage"]["tensors"]}
    held = {name: told.get(f"{name}.weight", "") for name in ODD} | {"lists": told.get("lists", "")}
    assert all(reason.endswith("no array of numbers") for reason in held.values())
    assert "several fields" in held["fields"]
    assert "text" in held["words"]
    assert not {"fields", "words"} & {reading["path"] for reading in inspect_model(str(path))["readings"]}
    assert "fields" not in rows(path)


def test_complex_arrays_of_a_layer_that_is_not_known_are_counted_as_not_read(tmp_path):
    path = write_h5(tmp_path / "m.h5", chained([configured("Own", "o")], shape=(5,)), {"o": [("o/w:0", COMPLEX)]})
    assert inspect_model(str(path))["coverage"]["decomposed"] == lmd.decompose(path).coverage.decomposed == 0.0


CODES = np.random.default_rng(7).integers(-127, 128, (5, 4)).astype(np.int8)
SCALE = np.array([40.0, 9.5, 100.0, 3.0], np.float32)
INT8 = {"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8", "source_name": "float32"}}
ROUNDED = {
    "Dense": ({"units": 4}, [CODES, draw(4), SCALE], (CODES / SCALE).T),
    "EinsumDense": (
        {"equation": "abc,cd->abd", "bias_axes": "d"},
        [CODES, draw(4), SCALE.reshape(1, 1, 4)],
        (CODES / SCALE).T,
    ),
    "Embedding": ({"input_dim": 4, "output_dim": 5}, [CODES.T, SCALE], (CODES / SCALE).T),
}


@pytest.mark.parametrize("class_name", ROUNDED)
@pytest.mark.parametrize("policy", [INT8, "int8_from_float32"], ids=["dictionary", "word"])
def test_weights_of_eight_bits_are_the_real_numbers_of_their_scale(class_name, policy, tmp_path):
    settings, arrays, wanted = ROUNDED[class_name]
    layer = configured(class_name, "it", dtype=policy, **settings)
    stored = {f"layers/{snake_case(class_name)}/vars/{number}": array for number, array in enumerate(arrays)}
    path = write_archive(tmp_path / "m.keras", chained([layer], shape=(5,)), stored)
    network = open_network(path)
    (row,) = walk(network).layers
    assert np.array_equal(row.loader().numpy(), wanted)
    assert np.array_equal(row.loader.narrow(0, 1, 2).narrow(1, 2, 2)().numpy(), wanted[1:3, 2:4])
    # what comes in would be rounded too, but for a table
    assert network.runs == (class_name == "Embedding")
    atlas = lmd.decompose(path)
    assert inspect_model(str(path))["coverage"]["decomposed"] == atlas.coverage.decomposed > 0.8
    (found,) = atlas.rows()
    assert found["floor_spectral_norm"] > 0.0


@pytest.mark.parametrize(("mode", "share"), [("int4", 0.0), ("float8", 5 / 6)])
def test_other_roundings_are_said(mode, share, tmp_path):
    policy = {"class_name": "QuantizedDTypePolicy", "config": {"mode": mode, "source_name": "float32"}}
    more = [np.ones(4, np.float32)] if mode == "int4" else [np.ones(n, np.float32) for n in (1, 9, 1, 9, 1, 9)]
    arrays = [CODES if mode == "int4" else draw(5, 4), draw(4), *more]
    stored = {f"layers/dense/vars/{number}": array for number, array in enumerate(arrays)}
    layer = configured("Dense", "it", dtype=policy)
    path = write_archive(tmp_path / "m.keras", chained([layer], shape=(5,)), stored)
    assert inspect_model(str(path))["coverage"]["decomposed"] == pytest.approx(share)
    network = open_network(path)
    assert len(walk(network).layers) == (mode == "float8")
    assert mode[-1] in str(network.skeleton.unknown)
