"""What an attention module, its configuration, or that of the whole network says about its heads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from lmd.layers.registry import join
from lmd.sources.network import Network

__all__ = ["Settings", "settings_around", "settings_of"]

_HALVES = {
    "text_config": ("text", "language", "decoder", "llm"),
    "vision_config": ("vision", "visual", "image"),
    "audio_config": ("audio", "speech"),
    "encoder": ("encoder",),
    "decoder": ("decoder",),
}
"""Sub-configurations and the words in a module's path that choose them."""
_PLAIN = (bool, int, float, str, Mapping, list, tuple)


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """Answers to a name, from the nearest one who knows.

    Attributes:
        path: of the attention module.
        own: what the module keeps as plain attributes.
        configs: configurations, the nearest first: mappings or objects with attributes.
        classes: names of the classes of the module and of its children.
        library: the one that the module's class is from.
    """

    path: str
    own: Mapping[str, Any]
    configs: tuple[Any, ...]
    classes: tuple[str, ...]
    library: str = ""

    @property
    def is_known(self) -> bool:
        """Whether the family is named, whose layouts are known."""
        return self.library == "transformers" or isinstance(self.value("model_type"), str)

    def value(self, *names: str) -> Any:
        """The first answer to one of the names that is not None; None if there is none."""
        for known in (self.own, *self.configs):
            for name in names:
                answer = _asked(known, name)
                if answer is not None:
                    return answer
        return None

    def count(self, *names: str) -> int | None:
        """The first answer that is a positive whole number."""
        for known in (self.own, *self.configs):
            for name in names:
                answer = _asked(known, name)
                if isinstance(answer, int) and not isinstance(answer, bool) and answer > 0:
                    return answer
        return None


def settings_of(module: nn.Module, path: str, network: Network) -> Settings:
    """Collect who knows: the module, the configurations on the way up to the root, config.json."""
    declared = path not in network.readings
    own = {name: value for name, value in vars(module).items() if isinstance(value, _PLAIN)} if declared else {}
    own |= _said(path, network)
    found = [config for owner in _upwards(network.skeleton, path) if (config := vars(owner).get("config")) is not None]
    if (config := vars(module).get("config")) is not None:
        found.insert(0, config)
    file = network.facts.get("config")
    if isinstance(file, Mapping):
        found.extend((*_chosen(file, path), file))
    classes = (type(module).__name__, *(type(child).__name__ for child in module.children()))
    return Settings(path, own, tuple(found), classes, type(module).__module__.partition(".")[0])


def _said(path: str, network: Network) -> dict[str, int]:
    """The number of heads that a person gave a bare file's attention."""
    heads = network.facts.get("heads")
    counts = [n for glob, n in heads.items() if fnmatchcase(path, glob)] if isinstance(heads, Mapping) else []
    return {"num_heads": counts[-1]} if counts else {}


def settings_around(module: nn.Module, path: str, inside: str, network: Network) -> Settings:
    """Those of an attention module whose projections lie in a child: the child knows best, then the module."""
    outer = settings_of(module, path, network)
    if not inside:
        return outer
    inner = settings_of(module.get_submodule(inside), join(path, inside), network)
    return replace(inner, path=path, own={**outer.own, **inner.own})


def _upwards(root: nn.Module, path: str) -> list[nn.Module]:
    """The modules around a path, innermost first; names that the skeleton had to change end the way."""
    way = [root]
    for part in path.split(".")[:-1]:
        child = way[-1]._modules.get(part)
        if child is None:
            break
        way.append(child)
    return way[::-1]


def _chosen(config: Mapping[str, Any], path: str) -> Iterator[Mapping[str, Any]]:
    for key, words in _HALVES.items():
        inner = config.get(key)
        if isinstance(inner, Mapping) and any(word in path for word in words):
            yield inner


def _asked(known: Any, name: str) -> Any:
    return known.get(name) if isinstance(known, Mapping) else getattr(known, name, None)
