"""What the dicts and lists of a checkpoint are: networks, optimisers, and what was recorded beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from lmd.sources.errors import UnreadableModelError

__all__ = ["Attributes", "CheckpointTree", "Path", "common_path", "sort_out"]

Path = tuple[str, ...]
_DEEPEST = 64
_MOST_REPEATS = 10_000
_MOST_RECORDED = 100
_LONGEST_TEXT = 200
_LONGEST_LIST = 16
_CONTAINER_WORDS = ("state_dict", "model", "net", "module", "param", "weights", "ema", "generator", "discriminator")


class Attributes(dict[str, object]):
    """Attributes of an object of the file (``argparse.Namespace``), read without its class."""

    def __setstate__(self, state: Mapping[str, object]) -> None:
        """Take the attributes as they are."""
        self.update(state)


@dataclass(slots=True)
class CheckpointTree:
    """The tensors of a checkpoint by what they are.

    Attributes:
        networks: path of the container to its tensors by key.
        beside: path to tensor of what was recorded beside the networks.
        optimisers: path to tensor of optimiser state.
        settings: path of each optimiser to the settings of its parameter groups.
        recorded: path to plain value (epoch, best accuracy, arguments), at most 100.
    """

    networks: dict[Path, dict[str, Any]] = field(default_factory=dict)
    beside: dict[Path, Any] = field(default_factory=dict)
    optimisers: dict[Path, Any] = field(default_factory=dict)
    settings: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    recorded: dict[str, object] = field(default_factory=dict)


def sort_out(root: object, tensor_types: tuple[type, ...]) -> CheckpointTree:
    """Tell the networks of an unpickled object from the rest.

    A container with a tensor of two dimensions or more, or with a key that ends in ``weight``, is a network; one with
    the keys ``state`` and ``param_groups`` is an optimiser. If nothing is a network by that rule, every container
    with a tensor outside optimisers is.

    Raises:
        UnreadableModelError: no tensors, only optimiser state, or nested beyond reason.
    """
    walk = _Walk(tensor_types)
    walk.visit({"tensor": root} if isinstance(root, tensor_types) else root, (), optimiser=False)
    tree = walk.tree
    networks = _networks(walk.groups)
    if not networks:
        held = f"{len(tree.optimisers)} tensors of optimiser state" if tree.optimisers else "no tensors"
        raise UnreadableModelError(
            f"the checkpoint holds {held} and no network; a network's state_dict is needed. Save model.state_dict()."
        )
    for path, group in walk.groups.items():
        if path in networks:
            tree.networks[path] = group
        else:
            tree.beside.update({(*path, key): tensor for key, tensor in group.items()})
    return tree


class _Walk:
    """One pass over the tree; shared containers are counted, so that a bomb of references is noticed."""

    def __init__(self, tensor_types: tuple[type, ...]) -> None:
        self.tensor_types = tensor_types
        self.tree = CheckpointTree()
        self.groups: dict[Path, dict[str, Any]] = {}
        self.seen: set[int] = set()
        self.repeats = 0

    def visit(self, node: object, path: Path, *, optimiser: bool) -> None:
        self._check(node, path)
        if _is_optimiser(node):
            optimiser = True
            self._take_settings(node["param_groups"], path)  # pyright: ignore[reportIndexIssue]
        for key, value in _items(node):
            if isinstance(value, self.tensor_types):
                self._take_tensor(key, value, path, optimiser=optimiser)
            elif isinstance(value, Mapping | list | tuple):
                if optimiser and key == "param_groups":
                    continue
                below = optimiser or key.lower().startswith(("optimizer", "optimiser"))
                self._take_value(value, (*path, key), optimiser=optimiser)
                self.visit(value, (*path, key), optimiser=below)
            elif isinstance(node, Mapping):
                self._take_value(value, (*path, key), optimiser=optimiser)

    def _check(self, node: object, path: Path) -> None:
        self.repeats += id(node) in self.seen
        self.seen.add(id(node))
        if len(path) > _DEEPEST or self.repeats > _MOST_REPEATS:
            raise UnreadableModelError(
                f"the checkpoint nests containers deeper than {_DEEPEST} levels or repeats them more than "
                f"{_MOST_REPEATS} times, which no state_dict does; save model.state_dict() by itself."
            )

    def _take_tensor(self, key: str, tensor: Any, path: Path, *, optimiser: bool) -> None:
        group = {} if optimiser else self.groups.setdefault(path, {})
        taken = self.tree.optimisers if optimiser else group
        name: Any = (*path, key) if optimiser else key
        while name in taken:  # the keys 0 and "0" read alike
            name = (*path, f"{name[-1]}#") if optimiser else f"{name}#"
        taken[name] = tensor

    def _take_settings(self, groups: object, path: Path) -> None:
        listed = groups if isinstance(groups, list | tuple) else []
        self.tree.settings[".".join(path)] = [
            {
                **{key: value for key, raw in _items(group) if (value := _plain(raw)) is not None},
                "params": len(params) if isinstance(params := group.get("params"), list | tuple) else 0,
            }
            for group in listed[:_MOST_RECORDED]
            if isinstance(group, Mapping)
        ]

    def _take_value(self, value: object, path: Path, *, optimiser: bool) -> None:
        if optimiser or len(self.tree.recorded) >= _MOST_RECORDED:
            return
        plain = _plain(value)
        if plain is not None:
            self.tree.recorded[".".join(path)] = plain


def _items(node: object) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        return ((_text(key), value) for key, value in node.items())
    if isinstance(node, list | tuple):
        return ((str(index), value) for index, value in enumerate(node))
    return iter(())


def _text(key: object) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    if isinstance(key, str):
        # lone surrogates cannot be written to any report
        return key.encode("utf-8", "replace").decode("utf-8")
    return str(key) if isinstance(key, int | float | None) else f"<{type(key).__name__}>"


def _plain(value: object) -> object:
    """The value if JSON can hold it, else None."""
    if isinstance(value, bytes | str):
        return _text(value)[:_LONGEST_TEXT]
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, int):
        return value
    if not isinstance(value, list | tuple) or not 0 < len(value) <= _LONGEST_LIST:
        return None
    scalars = all(isinstance(entry, int | float | str | bytes) for entry in value)
    return [_plain(entry) for entry in value] if scalars else None


def _is_optimiser(node: object) -> bool:
    return isinstance(node, Mapping) and isinstance(node.get("state"), Mapping) and "param_groups" in node


def _networks(groups: Mapping[Path, Mapping[str, Any]]) -> set[Path]:
    found = {path for path, group in groups.items() if _is_network(group)}
    found -= {path for path in found if _is_remark(path, groups[path], found)}
    if found:
        return found | _siblings(groups, found)
    lines = {path for path, group in groups.items() if any(_is_line(tensor) for tensor in group.values())}
    return lines or set(groups)


def _is_network(group: Mapping[str, Any]) -> bool:
    return any(_dimensions(tensor) >= 2 or key.endswith("weight") for key, tensor in group.items())


def _is_line(tensor: Any) -> bool:
    return _dimensions(tensor) >= 1 and "uint8" not in str(tensor.dtype)


def _dimensions(tensor: Any) -> int:
    # the shape of a nested tensor raises, its number of dimensions does not
    return len(tensor.shape) if not hasattr(tensor, "ndim") else tensor.ndim


def _is_remark(path: Path, group: Mapping[str, Any], networks: set[Path]) -> bool:
    """Whether tensors lie beside a network's container (a confusion matrix beside ``state_dict``)."""
    if any(key.rpartition(".")[2] in ("weight", "bias") for key in group):
        return False
    inner = (other[len(path)].lower() for other in networks if len(other) > len(path) and other[: len(path)] == path)
    return any(word in key for key in inner for word in _CONTAINER_WORDS)


def _siblings(groups: Mapping[Path, Mapping[str, Any]], networks: set[Path]) -> set[Path]:
    """Containers of vectors among the containers of matrices of one tree (``params.norm`` beside ``params.dense``)."""
    shared = common_path(networks)
    if not shared:
        return set()
    return {path for path in groups if len(path) > len(shared) and path[: len(shared)] == shared}


def common_path(paths: set[Path]) -> Path:
    """The longest beginning that all paths share.

    >>> common_path({("a", "b"), ("a", "c")})
    ('a',)
    """
    first, last = min(paths), max(paths)
    return first[: next((i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))]
