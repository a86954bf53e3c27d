"""Which stored array is which variable: what the two layouts of weights come to."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.hdf5.contents import DataSet
from lmd.sources.keras.weights.variables import Variable, variables_of

__all__ = ["Assigned", "Extra", "matched", "own_name"]


@dataclass(frozen=True, slots=True)
class Extra:
    """An array that is no known variable of a known layer.

    Attributes:
        layer: path of the layer it stands with.
        role: what to call it there.
        data_set: the array.
        reason: why it is no parameter; '' if it may be one.
    """

    layer: str
    role: str
    data_set: DataSet
    reason: str = ""


@dataclass(slots=True)
class Assigned:
    """The arrays of a file.

    Attributes:
        variables: path of a layer to role to array.
        extras: the others.
        misfits: path of a layer to why its arrays are not those of its class.
        used: paths of all arrays above.
    """

    variables: dict[str, dict[str, DataSet]] = field(default_factory=dict)
    extras: list[Extra] = field(default_factory=list)
    misfits: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    _named: dict[tuple[str, str], int] = field(default_factory=dict)

    def give(self, layer: LayerConfig, arrays: Sequence[DataSet]) -> None:
        """Match a layer's arrays with its variables; keep them as extras where they do not fit."""
        arrays, states = _without_states(arrays)
        for state in states:
            self.add(layer.path, "seed_generator_state", state, "state of a random generator")
        if not arrays and not variables_of(layer):
            return
        found = matched(layer, arrays)
        if isinstance(found, str):
            self.misfits[layer.path] = found
            for array in arrays:
                self.add(layer.path, own_name(array, arrays), array)
            return
        self.variables.setdefault(layer.path, {}).update(found)
        self.used.update(array.path for array in arrays)

    def beside(self) -> dict[str, list[Extra]]:
        """The extras of each layer."""
        found: dict[str, list[Extra]] = {}
        for extra in self.extras:
            found.setdefault(extra.layer, []).append(extra)
        return found

    def add(self, layer: str, role: str, data_set: DataSet, reason: str = "") -> None:
        """Keep an array as it is."""
        number = self._named[layer, role] = self._named.get((layer, role), -1) + 1
        name = f"{role}_{number}" if number else role
        self.extras.append(Extra(layer, name, data_set, reason))
        self.used.add(data_set.path)


def matched(layer: LayerConfig, arrays: Sequence[DataSet]) -> dict[str, DataSet] | str:
    """Role to array, or why they do not fit: by their names where these tell, else in order, the trained ones first."""
    variables = variables_of(layer)
    if variables is None:
        return f"{layer.class_name.lstrip('?')} is no layer of Keras that is known"
    if len(variables) != len(arrays):
        return f"{layer.class_name} has {len(variables)} variables and {len(arrays)} arrays are stored"
    return _by_name(variables, arrays) or _in_order(variables, arrays)


def _by_name(variables: Sequence[Variable], arrays: Sequence[DataSet]) -> dict[str, DataSet] | None:
    found: dict[str, DataSet] = {}
    left = list(arrays)
    for variable in variables:
        fitting = [array for array in left if _is_called(variable, array)]
        if len(fitting) != 1:
            return None
        found[variable.role] = fitting[0]
        left.remove(fitting[0])
    return found


def _is_called(variable: Variable, array: DataSet) -> bool:
    *groups, _ = array.path.split("/")
    inside = groups[-3:]
    part = not variable.part or any(group == variable.part or group.startswith(f"{variable.part}_") for group in inside)
    return part and _bare(array.name) == variable.name


def _in_order(variables: Sequence[Variable], arrays: Sequence[DataSet]) -> dict[str, DataSet]:
    trained = [v for v in variables if v.trained]
    others = [v for v in variables if not v.trained]
    return {v.role: array for v, array in zip([*trained, *others], arrays, strict=True)}


def _bare(name: str) -> str:
    head, _, tail = name.rpartition("_")
    return head if tail.isdigit() and head else name


def own_name(array: DataSet, among: Sequence[DataSet]) -> str:
    """What to call an array that is no known variable: its name, or the weight of the number that Keras 3 gives."""
    name = array.name.replace(".", "_")
    if not name.isdigit():
        return name
    first = min(int(a.name) for a in among if a.name.isdigit())
    return "kernel" if int(name) == first and len(array.shape) > 1 else f"variable_{name}"


def _without_states(arrays: Sequence[DataSet]) -> tuple[list[DataSet], list[DataSet]]:
    """Dropout keeps the state of its random generator beside weights."""
    states = [a for a in arrays if "/seed_generator" in a.path or "seed_generator_state" in a.name]
    return [a for a in arrays if a not in states], states
