"""The formats a path may have: each says what it accepts, how to read its header, and how to read it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from lmd.sources.archive import Archive
from lmd.sources.errors import UnreadableModelError

__all__ = ["Format", "format_of", "source"]

_OWN = ("safetensors_file", "gguf.gguf_file", "hugging_face", "onnx.onnx_file", "keras.keras_file", "torch_checkpoint")
"""In the order they are asked: all but the last need no torch to look at a header."""


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file or folder.

    Attributes:
        name: what people call it.
        accepts: whether a path is of this format, by its first bytes or its content, not by its name alone.
        read_header: names, shapes and types only.
        read: the same with loaders.
    """

    name: str
    accepts: Callable[[Path], bool]
    read_header: Callable[[str], Archive]
    read: Callable[[str], Archive]


_formats: dict[str, Format] = {}


def source(
    name: str, *, accepts: Callable[[Path], bool], header: Callable[[str], Archive]
) -> Callable[[Callable[[str], Archive]], Callable[[str], Archive]]:
    """Register a reader: ``accepts`` chooses it, ``header`` serves ``lmd inspect``, the function reads."""

    def add(read: Callable[[str], Archive]) -> Callable[[str], Archive]:
        _formats[name] = Format(name, accepts, header, read)
        return read

    return add


def format_of(path: Path) -> Format:
    """The first format that accepts a path; formats are imported one by one until then.

    Raises:
        UnreadableModelError: none does.
    """
    # whatever was imported first: a zip archive of another format would pass for a torch checkpoint
    later = [f"lmd.sources.{module}" for module in _OWN]
    while later:
        import_module(later.pop(0))
        for known in _formats.values():
            if known.read.__module__ not in later and known.accepts(path):
                return known
    for plugin in entry_points(group="lmd.sources"):
        plugin.load()
    for known in _formats.values():
        if known.accepts(path):
            return known
    from lmd.sources.file_head import looks_like

    words = looks_like(str(path)) if path.is_file() else "neither a file nor a folder with bytes to read"
    raise UnreadableModelError(f"{path} is no format lmd reads ({', '.join(_formats)}); it is {words}.")
