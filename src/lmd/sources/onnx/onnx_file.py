"""ONNX files: their graph is the architecture, which runs if every operation is known; numbers stay in the file."""

from dataclasses import replace
from pathlib import Path

from lmd.sources.archive import Archive
from lmd.sources.file_head import first_bytes
from lmd.sources.formats import source
from lmd.sources.onnx.file.model import Model
from lmd.sources.onnx.file.parse import read_model
from lmd.sources.onnx.plan.plan import Plan, plan_of
from lmd.sources.onnx.plan.records import Naming, named, readings_of, steps_of_codes

__all__ = ["read", "read_header"]

_NEWEST = 64
"""Far beyond the newest version of the format; the file starts with its number."""
_FOLLOWS = frozenset(b"\x12\x1a\x22\x28\x32\x3a\x42")
"""What a writer puts behind it: the tag of a producer, a version, a domain, a comment, a graph or opsets."""


def _described(path: str) -> tuple[Model, Plan, Naming, Archive]:
    model = read_model(path)
    plan = plan_of(model)
    naming = named(model.graph, plan)
    codes = steps_of_codes(plan)
    facts = {**model.facts, **({"quantised": codes} if codes else {})}
    readings = tuple(readings_of(plan, naming))
    return model, plan, naming, Archive(tuple(naming.records), facts=facts, files=model.files, readings=readings)


def read_header(path: str) -> Archive:
    """Read the graph, and names, shapes and types of its tensors; without torch.

    Raises:
        UnreadableModelError: not a whole ONNX file, or one whose numbers are not there.
        UnsafeModelError: some of its numbers are in files outside its folder.
    """
    return _described(path)[3]


def _accepts(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix == ".onnx":
        return True
    head = first_bytes(str(path), 3)
    return len(head) == 3 and head[0] == 0x08 and 0 < head[1] < _NEWEST and head[2] in _FOLLOWS


@source("ONNX", accepts=_accepts, header=read_header)
def read(path: str) -> Archive:
    """Read the graph, and give each tensor a loader that reads it where it lies.

    Raises:
        UnreadableModelError: not a whole ONNX file, or one whose numbers are not there.
        UnsafeModelError: some of its numbers are in files outside its folder.
    """
    from lmd.sources.onnx.build import built

    _, plan, naming, header = _described(path)
    skeleton, loaders = built(plan, naming)
    return replace(header, loaders=loaders, skeleton=skeleton)
