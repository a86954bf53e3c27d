"""Weights as Keras 3 lays them out: groups named after classes, with numbered variables in ``vars``."""

import re
from collections.abc import Mapping, Sequence

from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.hdf5.contents import Contents, DataSet
from lmd.sources.keras.weights.assigned import Assigned
from lmd.sources.keras.weights.variables import variables_of

__all__ = ["CONTAINERS", "assign_by_paths", "numbered", "snake_case"]

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
_NUMBER = re.compile(r"_(\d+)$")


def snake_case(class_name: str) -> str:
    """A class as Keras writes it into paths.

    >>> snake_case("BatchNormalization"), snake_case("PReLU"), snake_case("Conv2DTranspose")
    ('batch_normalization', 'p_re_lu', 'conv2d_transpose')
    """
    apart = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", apart).lower()


def assign_by_paths(model: LayerConfig, contents: Contents) -> Assigned:
    """Give every layer the arrays of its group."""
    assigned = Assigned()
    _assign(model, "", contents, assigned, contents.inside)
    return assigned


def _assign(
    model: LayerConfig, group: str, contents: Contents, assigned: Assigned, children: Mapping[str, list[str]]
) -> None:
    container = next(
        (f"{group}/{c}".lstrip("/") for c in CONTAINERS if f"{group}/{c}".lstrip("/") in contents.groups), ""
    )
    places = _places(model.inside, container, contents, children.get(container, ())) if container else {}
    for layer in model.inside:
        place = places.get(layer.name)
        if place is None:
            continue
        if layer.model is not None:
            # a wrapper keeps what it wraps in a group of its own
            inner = place if layer.is_model else f"{place}/layer"
            _assign(layer.model, inner, contents, assigned, children)
        else:
            _give(layer, place, contents, assigned, children)
    for array in numbered(contents, group):
        assigned.add(model.path, f"variable_{array.name}", array)


def _places(layers: Sequence[LayerConfig], container: str, contents: Contents, groups: Sequence[str]) -> dict[str, str]:
    """Name of a layer to its group: by the name that newer files keep, else the first group of a class is its first."""
    told: dict[str, str] = {}
    for group in groups:
        path = f"{container}/{group}"
        for owner in (path, f"{path}/vars"):
            if (name := contents.groups.get(owner, {}).get("name")) is not None:
                told[name] = path
    if all(layer.name in told for layer in layers if variables_of(layer) != () or layer.is_model):
        return {layer.name: told[layer.name] for layer in layers if layer.name in told}
    found: dict[str, str] = {}
    for name in {snake_case(layer.class_name) for layer in layers}:
        own = [layer for layer in layers if snake_case(layer.class_name) == name]
        numbers = {group: number for group in groups if (number := _stem(group, name)) is not None}
        fitting = sorted(numbers, key=lambda group: numbers[group])
        if len(fitting) > len(own):
            # a group is there for every mention of a layer, and full for one of them
            fitting = [g for g in fitting if contents.below(f"{container}/{g}")]
        found.update({layer.name: f"{container}/{group}" for layer, group in zip(own, fitting, strict=False)})
    return found


def _stem(group: str, name: str) -> int | None:
    """The number of a group of a class; 0 without one, None for a group of another class."""
    if group == name:
        return 0
    number = _NUMBER.search(group)
    return int(number[1]) if number and group[: number.start()] == name else None


def numbered(contents: Contents, group: str) -> list[DataSet]:
    """The arrays in ``vars`` of a group, in the order of their numbers."""
    own = contents.held.get(f"{group}/vars".lstrip("/"), ())
    return sorted(own, key=lambda array: (not array.name.isdigit(), int(array.name) if array.name.isdigit() else 0))


def _give(
    layer: LayerConfig, group: str, contents: Contents, assigned: Assigned, children: Mapping[str, list[str]]
) -> None:
    arrays = _below(contents, group, children)
    variables = variables_of(layer) or ()
    places = list(dict.fromkeys(variable.place for variable in variables))
    ordered: dict[str, DataSet] = {}
    for place in places:
        wanted = [v for v in variables if v.place == place]
        wanted = [*(v for v in wanted if v.trained), *(v for v in wanted if not v.trained)]
        own = numbered(contents, _group_at(group, place, children))
        if len(own) != len(wanted):
            assigned.give(layer, arrays)
            return
        ordered.update({v.role: array for v, array in zip(wanted, own, strict=True)})
    # what is left is the state of a random generator, or nothing that is known
    left = [array for array in arrays if array.path not in {a.path for a in ordered.values()}]
    if ordered and not all("seed_generator" in array.path for array in left):
        assigned.give(layer, arrays)
        return
    if ordered:
        assigned.variables[layer.path] = ordered
        assigned.used.update(array.path for array in ordered.values())
    if left:
        assigned.give(layer if not ordered else _bare(layer), left)


def _bare(layer: LayerConfig) -> LayerConfig:
    return LayerConfig(layer.name, "Identity", layer.path)


def _group_at(group: str, place: Sequence[str], children: Mapping[str, list[str]]) -> str:
    for part in place:
        names = children.get(group, ())
        group = f"{group}/{next((n for n in names if n.lstrip('_') == part), part)}"
    return group


def _below(contents: Contents, group: str, children: Mapping[str, list[str]]) -> list[DataSet]:
    found = numbered(contents, group)
    for name in children.get(group, ()):
        if name != "vars":
            found += _below(contents, f"{group}/{name}", children)
    return found
