"""Which format a file is read as does not depend on what was imported before."""

import subprocess
import sys

import numpy as np

from tests.keras_files import chained, configured, write_archive

_SCRIPT = """
import sys
from pathlib import Path
import lmd.sources.torch_checkpoint
from lmd.sources.formats import format_of
print(format_of(Path(sys.argv[1])).name)
"""


def test_a_zip_of_keras_is_no_torch_checkpoint_whatever_came_first(tmp_path):
    layer = configured("Dense", "d", units=3, use_bias=False)
    weights = {"layers/d/vars/0": np.ones((5, 3), np.float32)}
    path = write_archive(tmp_path / "m.keras", chained([layer], shape=(5,)), weights)
    run = subprocess.run([sys.executable, "-c", _SCRIPT, path], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("Keras")
