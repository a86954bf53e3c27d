"""Models of the Hugging Face Hub: ``owner/name[@revision]``. Only safetensors and JSON are fetched, never code."""

import os
import re
from dataclasses import dataclass, replace
from typing import Any

from lmd.sources import hugging_face
from lmd.sources.archive import Archive
from lmd.sources.errors import UnreadableModelError

__all__ = ["Snapshot", "fetch", "is_hub_name", "read", "read_header"]

_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w.][\w./-]*))?")
_FETCHED = ["*.safetensors", "*.json"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository of the Hub as it lies in the cache; ``revision`` is the commit, whatever name was asked for."""

    folder: str
    repository: str
    revision: str


def is_hub_name(name: str) -> bool:
    """Whether a text has the form ``owner/name[@revision]``.

    >>> is_hub_name("sentence-transformers/all-MiniLM-L6-v2@main"), is_hub_name("./model.safetensors")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def read_header(name: str, *, cache_dir: str | None = None) -> Archive:
    """Fetch a model of the Hub and read names, shapes and types.

    Raises:
        UnreadableModelError: see ``fetch`` and ``hugging_face.read``.
    """
    snapshot = fetch(name, cache_dir=cache_dir)
    return _with_revision(hugging_face.read_header(snapshot.folder), snapshot)


def read(name: str, *, cache_dir: str | None = None) -> Archive:
    """Fetch a model of the Hub and give each of its tensors a loader.

    Raises:
        UnreadableModelError: see ``fetch`` and ``hugging_face.read``.
    """
    snapshot = fetch(name, cache_dir=cache_dir)
    return _with_revision(hugging_face.read(snapshot.folder), snapshot)


def _with_revision(archive: Archive, snapshot: Snapshot) -> Archive:
    facts = {**archive.facts, "repository": snapshot.repository, "revision": snapshot.revision}
    return replace(archive, facts=facts)


def fetch(name: str, *, cache_dir: str | None = None) -> Snapshot:
    """Bring the safetensors and JSON files of a repository into the cache, or find them there.

    ``HF_HUB_OFFLINE=1`` allows the cache alone.

    Raises:
        UnreadableModelError: no such name, repository or revision; not reachable and not in the cache; or
            huggingface_hub is not installed.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UnreadableModelError(
            f"{name!r} is neither a file or folder nor a name of the Hugging Face Hub; "
            "give a path that exists or owner/name[@revision]."
        )
    repository, revision = match["repository"], match["revision"]
    folder = _snapshot(name, repository, revision, cache_dir)
    return Snapshot(folder, repository, os.path.basename(folder))


def _snapshot(name: str, repository: str, revision: str | None, cache_dir: str | None) -> str:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise UnreadableModelError(
            f"{name} is no file or folder here, and names of the Hugging Face Hub need huggingface_hub; "
            "give a path that exists or install it: pip install 'lmd[hf]'."
        ) from error
    # its first base is the error of the HTTP library in use, which raises it for lost connections
    failures: tuple[Any, ...] = (OSError, ValueError, *HfHubHTTPError.__bases__)
    try:
        return snapshot_download(
            repository, revision=revision, cache_dir=cache_dir, allow_patterns=_FETCHED, tqdm_class=_progress_bar()
        )
    except failures as error:
        raise UnreadableModelError(
            f"{name} is no file or folder here and could not be had from the Hugging Face Hub "
            f"({type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}); a path that exists, a public "
            "repository or one in the cache is needed. Check the name, the connection, HF_HUB_OFFLINE and HF_TOKEN."
        ) from error


def _progress_bar() -> Any:
    from huggingface_hub.utils import tqdm

    class TerminalOnly(tqdm):
        """Draws on terminals, writes nothing into logs."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": options.get("disable") or None})

    return TerminalOnly
