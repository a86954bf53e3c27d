"""Weights as Keras 1 and 2 lay them out: a group for each layer, whose attribute lists its arrays in order."""

from collections.abc import Mapping, Sequence

from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.hdf5.contents import Contents, DataSet
from lmd.sources.keras.weights.assigned import Assigned
from lmd.sources.keras.weights.variables import variables_of

__all__ = ["assign_by_names", "listed"]

_TOP = "top_level_model_weights"


def listed(contents: Contents, group: str) -> list[DataSet]:
    """The arrays of a group in the order of its ``weight_names``; without such a list all below it."""
    names = contents.groups.get(group, {}).get("weight_names")
    found = [contents.data_sets.get(f"{group}/{name}".lstrip("/")) for name in names or ()]
    if names is not None and all(array is not None for array in found):
        return [array for array in found if array is not None]
    return contents.below(group) if group else []


def assign_by_names(model: LayerConfig, contents: Contents, root: str) -> Assigned:
    """Give every layer the arrays of its group below ``root``."""
    assigned = Assigned()
    for layer in model.inside:
        arrays = listed(contents, f"{root}/{layer.name}".lstrip("/"))
        if layer.model is not None:
            _divide(layer, arrays, assigned)
        else:
            assigned.give(layer, arrays)
    for array in listed(contents, f"{root}/{_TOP}".lstrip("/")):
        assigned.add("", array.name, array)
    return assigned


def _divide(model: LayerConfig, arrays: Sequence[DataSet], assigned: Assigned) -> None:
    """The arrays of a nested model among its layers: by the names in their paths, else in order."""
    leaves = [leaf for leaf in model.leaves() if variables_of(leaf) != ()]
    for leaf, own in (_by_path(leaves, arrays) or _in_order(leaves, arrays) or {}).items():
        assigned.give(leaf, own)
    left = [array for array in arrays if array.path not in assigned.used]
    for array in left:
        assigned.add(model.path, array.name, array)


def _by_path(leaves: Sequence[LayerConfig], arrays: Sequence[DataSet]) -> dict[LayerConfig, list[DataSet]] | None:
    names = [leaf.name for leaf in leaves]
    if len(set(names)) < len(names):
        return None
    found: dict[LayerConfig, list[DataSet]] = {leaf: [] for leaf in leaves}
    for array in arrays:
        path = f"/{array.path.rpartition('/')[0]}/"
        fitting = [leaf for leaf in leaves if f"/{leaf.name}/" in path]
        # of layers whose names stand in the path the innermost, or the one with the longest name
        best = max(fitting, key=lambda leaf: (path.rfind(f"/{leaf.name}/"), len(leaf.name)), default=None)
        if best is None:
            return None
        found[best].append(array)
    complete = all(len(own) == len(variables_of(leaf) or own) for leaf, own in found.items())
    return found if complete else None


def _in_order(leaves: Sequence[LayerConfig], arrays: Sequence[DataSet]) -> Mapping[LayerConfig, list[DataSet]] | None:
    """Trained variables of all layers first, then the others; those of a frozen layer are not trained."""
    wanted = [(leaf, variable) for leaf in leaves for variable in variables_of(leaf) or ()]
    if len(wanted) != len(arrays) or any(variables_of(leaf) is None for leaf in leaves):
        return None
    trained = [leaf for leaf, variable in wanted if variable.trained and leaf.trainable]
    others = [leaf for leaf, variable in wanted if not (variable.trained and leaf.trainable)]
    found: dict[LayerConfig, list[DataSet]] = {leaf: [] for leaf in leaves}
    for leaf, array in zip([*trained, *others], arrays, strict=True):
        found[leaf].append(array)
    return found
