"""What is fuzzed: one target for each reader, with small files to damage and a way to read them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from lmd.sources import safetensors_file, torch_checkpoint
from lmd.sources.archive import Archive
from lmd.sources.gguf import gguf_file
from lmd.sources.isolation.reader_process import ReaderProcess
from lmd.sources.keras import keras_file
from lmd.sources.keras.hdf5.contents import CHILD
from lmd.sources.keras.hdf5.contents import LIMITS as KERAS_LIMITS
from lmd.sources.onnx import onnx_file
from lmd.sources.onnx.operations import registered
from tests.examples import as_legacy, as_safetensors, as_zip
from tests.fuzz.gguf_seeds import gguf_seeds
from tests.keras_seeds import keras_seeds
from tests.onnx_files import as_onnx, small_models

__all__ = ["TARGETS", "Target"]

Read = Callable[[Path], Archive]


@dataclass(frozen=True, slots=True)
class Target:
    """One format.

    Attributes:
        name: on the command line and in the counts.
        ending: of the files.
        seeds: writes small sound files into a folder.
        session: opens what reading needs, once for many files, and gives the function that reads one.
        files: how many damaged files ``make fuzz`` reads.
    """

    name: str
    ending: str
    seeds: Callable[[Path], list[Path]]
    session: Callable[[], AbstractContextManager[Read]]
    files: int = 20_000


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 4), nn.LSTM(4, 2))


def _safetensors(folder: Path) -> list[Path]:
    return [as_safetensors(_network(), folder)]


def _torch(folder: Path) -> list[Path]:
    return [as_zip(_network(), folder), as_legacy(_network(), folder)]


def _onnx(folder: Path) -> list[Path]:
    return [as_onnx(_network(), folder), *small_models(folder)]


@contextmanager
def _reading_onnx() -> Iterator[Read]:
    registered()
    yield lambda path: onnx_file.read(str(path))


@contextmanager
def _reading(read: Callable[[str], Archive]) -> Iterator[Read]:
    yield lambda path: read(str(path))


@contextmanager
def _keras() -> Iterator[Read]:
    # the library was seen to hang on damaged attributes: a limit that leaves time for many files
    with ReaderProcess(CHILD, replace(KERAS_LIMITS, seconds=2.0)) as reader:
        yield lambda path: keras_file.archive_of(str(path), reader)


TARGETS = {
    target.name: target
    for target in (
        Target("safetensors", ".safetensors", _safetensors, lambda: _reading(safetensors_file.read)),
        Target("gguf", ".gguf", gguf_seeds, lambda: _reading(gguf_file.read)),
        Target("onnx", ".onnx", _onnx, _reading_onnx),
        Target("torch", ".pt", _torch, lambda: _reading(torch_checkpoint.read)),
        Target("keras", ".h5", keras_seeds, _keras),
    )
}
