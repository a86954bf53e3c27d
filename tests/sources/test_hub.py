"""Names of the Hub: found in a cache made by hand, never fetched here."""

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lmd.sources import hub
from lmd.sources.errors import UnreadableModelError

COMMIT = "0123456789abcdef0123456789abcdef01234567"

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--owner--net"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / COMMIT
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    save_file({"fc.weight": torch.ones(2, 3)}, blobs / "0")
    (snapshot / "model.safetensors").symlink_to(Path("..") / ".." / "blobs" / "0")
    (snapshot / "config.json").write_text("{}")
    return str(tmp_path)


@pytest.mark.parametrize("name", ["owner/net", "owner/net@main", f"owner/net@{COMMIT}"])
def test_cached_models_are_read_offline_with_their_revision(cache: str, name: str) -> None:
    archive = hub.read(name, cache_dir=cache)
    assert archive.facts["revision"] == COMMIT
    assert archive.facts["repository"] == "owner/net"
    assert torch.equal(archive.loaders["fc.weight"](), torch.ones(2, 3))
    assert not hub.read_header(name, cache_dir=cache).loaders


@pytest.mark.parametrize("name", ["owner/other", "owner/net@v2"])
def test_what_is_not_cached_is_refused_offline(cache: str, name: str) -> None:
    with pytest.raises(UnreadableModelError, match="HF_HUB_OFFLINE"):
        hub.read(name, cache_dir=cache)


def test_a_lost_connection_is_refused(cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection_error = huggingface_hub.errors.HfHubHTTPError.__bases__[0]

    def lost(*_: object, **__: object) -> str:
        raise connection_error("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lost)
    with pytest.raises(UnreadableModelError, match="no route"):
        hub.read("owner/net", cache_dir=cache)


def test_only_safetensors_and_json_are_asked_for(cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def recorded(repository: str, **options: Any) -> str:
        asked.update(options)
        return str(Path(cache) / "models--owner--net" / "snapshots" / COMMIT)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", recorded)
    hub.read("owner/net@main", cache_dir=cache)
    assert asked["allow_patterns"] == ["*.safetensors", "*.json"]
    assert asked["revision"] == "main"


@pytest.mark.parametrize("name", ["", "a", "a/b/c", "../b", "a/b@", "a/../b", "/a/b", "a b/c", "a/b@-x", "a/b\n"])
def test_other_texts_are_no_names(name: str) -> None:
    assert not hub.is_hub_name(name)
    with pytest.raises(UnreadableModelError, match="owner/name"):
        hub.fetch(name)


def test_without_the_library_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "huggingface_hub":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnreadableModelError, match=r"pip install 'lmd\[hf\]'"):
        hub.fetch("owner/net")
