"""Every layer, as Keras 2 and as Keras 3 store it, gives what plain NumPy gives."""

import numpy as np
import pytest
import torch

from lmd.layers.walk import walk
from lmd.sources.inspection import inspect_model
from lmd.sources.isolation.reader_process import ReaderProcess
from lmd.sources.keras.hdf5.contents import CHILD
from lmd.sources.keras.keras_file import archive_of
from lmd.sources.keras.weights.by_paths import snake_case
from lmd.sources.open_network import _graphed, open_network
from lmd.sources.runnable import runnable
from tests.keras_files import chained, configured, write_archive, write_h5
from tests.sources.keras.case import Case, draw, kernel_and_bias, plain
from tests.sources.keras.cases import CASES

TOLERANCE = 1e-5
"""What the product promises; sums of some hundred products of float32 err by less."""


def written(case: Case, version: int, folder):
    layer = configured(case.class_name, "it", **case.settings)
    if version == 2:
        weights = {"it": [(f"it/{name}:0", array) for name, _, array in case.arrays]}
        return write_h5(folder / "model.h5", chained([layer], shape=case.shape), weights)
    layer = {"module": "keras.layers", "registered_name": None, **layer}
    arrays = {f"layers/{snake_case(case.class_name)}/{place}": array for _, place, array in case.arrays}
    arrays = arrays or {"optimizer/vars/0": np.zeros(1, np.float32)}
    shape = [None, *case.shape]
    first = {"module": "keras.layers", **configured("InputLayer", "input_layer", batch_shape=shape)}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [first, layer]}}
    return write_archive(folder / "model.keras", config, arrays)


@pytest.fixture(scope="module")
def opened():
    """Opens a file through one process for all of them."""
    with ReaderProcess(CHILD) as reader:

        def run(path):
            archive = archive_of(str(path), reader)
            return runnable(_graphed(path, archive, archive.skeleton))

        yield run


PAIRS = [(case, version) for case in CASES for version in case.versions if version == 3 or case.arrays]


@pytest.mark.parametrize(("case", "version"), PAIRS, ids=[f"{c.name}, Keras {v}" for c, v in PAIRS])
def test_a_layer_gives_what_numpy_gives(case, version, opened, tmp_path):
    model = opened(written(case, version, tmp_path))
    x = draw(2, *case.shape)
    with torch.no_grad():
        found = model(torch.from_numpy(x)).numpy()
    wanted = case.forward(x.astype(np.float64), *case.values())
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < TOLERANCE * max(1.0, np.abs(wanted).max())


def test_a_convolution_over_time_is_two_kernel_matrices(tmp_path):
    arrays = kernel_and_bias(3, 3, 2, 16) + plain(("recurrent_kernel", draw(3, 3, 4, 16)))
    case = Case("it", "ConvLSTM2D", (5, 6, 6, 2), lambda x: x, (arrays[0], arrays[2], arrays[1]), {"padding": "same"})
    path = written(case, 2, tmp_path)
    rows = {row.name: (row.shape, row.confidence) for row in walk(open_network(path)).layers if not row.view_of}
    assert rows == {"it.input": ((16, 18), "declared"), "it.hidden": ((16, 36), "declared")}
    assert {r["path"]: r["kind"] for r in inspect_model(str(path))["readings"]} == dict.fromkeys(rows, "kernel_matrix")
