"""Arrays that are no plain real numbers: complex ones, text, records, and whole numbers with a scale."""

import h5py
import numpy as np
import pytest

import lmd
from lmd.layers.walk import walk
from lmd.sources.inspection import inspect_model
from lmd.sources.open_network import open_network
from tests.keras_files import chained, configured, write_h5
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
