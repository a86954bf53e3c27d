"""From the word a user types to the archive it names. Needs no torch for formats whose headers need none."""

from dataclasses import replace
from pathlib import Path

from lmd.sources import hub
from lmd.sources.adapter_scale import with_adapter_config
from lmd.sources.archive import Archive
from lmd.sources.errors import UnreadableModelError
from lmd.sources.formats import format_of
from lmd.sources.hugging_face import config_of
from lmd.sources.rules.tensor_roles import with_roles

__all__ = ["read_archive"]

_SUFFIXES = frozenset(
    {".pt", ".pth", ".th", ".ckpt", ".bin", ".safetensors", ".onnx", ".h5", ".hdf5", ".keras", ".gguf"}
)
"""A missing file is no Hub name, though ``folder/model.pt`` looks like one."""


def read_archive(model: str, *, header: bool = False) -> tuple[Path, Archive]:
    """Read a file, a folder or a Hub name ``owner/name[@revision]``; an existing path goes before a Hub name.

    Args:
        model: what the user typed.
        header: read names, shapes and types only.

    Returns:
        The path the archive was read from, and the archive with buffers told from parameters.

    Raises:
        UnreadableModelError: nothing is there, or it is not readable.
        UnsafeModelError: reading it would run code from it.
    """
    path = Path(model).expanduser()
    if path.exists():
        chosen = format_of(path)
        archive = (chosen.read_header if header else chosen.read)(str(path))
        if path.is_file():
            archive = replace(archive, facts={**_config_beside(path), **archive.facts})
    elif hub.is_hub_name(model) and path.suffix not in _SUFFIXES:
        archive = (hub.read_header if header else hub.read)(model)
        path = Path(model.partition("@")[0])
    else:
        raise UnreadableModelError(
            f"{model} does not exist; give a checkpoint file, a folder with weights, or a Hub name owner/name."
        )
    archive = with_adapter_config(archive)
    return path, replace(archive, records=with_roles(archive.records))


def _config_beside(path: Path) -> dict[str, object]:
    """The architecture of a single weight file, which may lie beside it; a stranger of that name does no harm."""
    try:
        config = config_of(str(path.absolute().parent))
    except UnreadableModelError:
        return {"architecture": "the config.json beside the file is no JSON object; layers were read by rules"}
    return {"config": config} if config else {}
