"""A model in several GGUF files, opened by the name of any of them. Needs no torch."""

import os
import re

from lmd.sources.errors import UnreadableModelError
from lmd.sources.gguf.header import Header, read_head

__all__ = ["read_heads"]

_PART = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")
_MOST_PARTS = 4096


def read_heads(path: str) -> tuple[Header, ...]:
    """The heads of all files of a model, in order; of one file its own.

    Raises:
        UnreadableModelError: one is damaged or missing, or they do not belong together.
    """
    named = read_head(path)
    count = named.metadata.get("split.count", 1)
    if not isinstance(count, int) or count <= 1:
        return (named,)
    told = _PART.match(os.path.basename(path))
    if told is None or int(told[3]) != count or count > _MOST_PARTS:
        raise UnreadableModelError(
            f"{path} is one of {count} files of a model, which are found by their names; names end in "
            f"-00001-of-{count:05}.gguf. Give the files the names they were made with."
        )
    folder = os.path.dirname(path)
    files = [os.path.join(folder, f"{told[1]}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]
    missing = [os.path.basename(file) for file in files if not os.path.isfile(file)]
    if missing:
        raise UnreadableModelError(
            f"{path} is one of {count} files, and {', '.join(missing[:3])} {'are' if len(missing) > 1 else 'is'} not "
            f"beside it; all of them are needed. Fetch the rest into the same folder."
        )
    heads = tuple(named if os.path.samefile(file, path) else read_head(file) for file in files)
    _check(path, heads, count)
    return heads


def _check(path: str, heads: tuple[Header, ...], count: int) -> None:
    for place, head in enumerate(heads):
        if head.metadata.get("split.no") != place or head.metadata.get("split.count") != count:
            raise UnreadableModelError(
                f"{head.path} calls itself part {head.metadata.get('split.no')} of {head.metadata.get('split.count')}, "
                f"counted from 0, where part {place} of {count} is needed; fetch the files of one model again."
            )
    names = [tensor.name for head in heads for tensor in head.tensors]
    total = heads[0].metadata.get("split.tensors.count", len(names))
    if total != len(names) or len(set(names)) < len(names):
        raise UnreadableModelError(
            f"the {count} files of {path} hold {len(names)} tensors, {len(set(names))} of them of different names, and "
            f"declare {total}; they must belong together. Fetch the files of one model again."
        )
