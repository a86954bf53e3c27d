"""What an optimiser remembers: its moments, matched with the weights they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lmd.sources.keras.hdf5.contents import Contents, DataSet
from lmd.sources.keras.weights.by_names import listed
from lmd.sources.keras.weights.by_paths import numbered

__all__ = ["Remembered", "remembered"]

_MOMENTS = {
    "adam": ("m", "v", "vhat"),
    "adamw": ("m", "v", "vhat"),
    "nadam": ("m", "v"),
    "adamax": ("m", "u"),
    "rmsprop": ("velocity", "momentum", "average_gradient"),
    "sgd": ("momentum",),
    "adagrad": ("accumulator",),
    "adadelta": ("accumulated_grad", "accumulated_delta"),
    "lion": ("m",),
    "ftrl": ("accumulator", "linear"),
}
_COUNTS = ("iteration", "iterations", "iter")


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """The state of an optimiser.

    Attributes:
        moments: path of an array to the name of the weight and which moment it is.
        others: the other arrays, such as counters.
        iterations: the array that counts them.
    """

    moments: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    others: tuple[DataSet, ...] = ()
    iterations: DataSet | None = None

    @property
    def arrays(self) -> tuple[str, ...]:
        """Paths of all of them."""
        return (*self.moments, *(array.path for array in self.others))


def remembered(
    contents: Contents, weights: Sequence[tuple[str, DataSet]], optimiser: str, version: str = ""
) -> Remembered:
    """Match what the optimiser keeps with the trained weights.

    Args:
        contents: of the file.
        weights: name and array of each, in the order in which the model lists them.
        optimiser: class name, which tells the order of the moments.
        version: of Keras: up to 2.0 it sorted weights by their names.
    """
    arrays = [*listed(contents, "optimizer_weights"), *numbered(contents, "optimizer")]
    known = {array.path for array in arrays}
    arrays += [a for p, a in contents.data_sets.items() if p.startswith("optimizer") and p not in known]
    scalars = [array for array in arrays if not array.shape]
    slots = [array for array in arrays if array.shape]
    count = next((a for a in scalars if _is_count(a)), None)
    count = count or next((a for a in scalars if a.dtype.startswith(("int", "uint"))), None)
    words = _MOMENTS.get(optimiser.lower(), ())
    orders = [list(weights), sorted(weights, key=lambda weight: _variable_name(weight[1]))]
    if version.startswith(("1.", "2.0")):
        orders.reverse()
    found = _named(slots, weights) or _matched(slots, orders[0], words) or _matched(slots, orders[1], words)
    others = [array for array in arrays if array.path not in found]
    return Remembered(found, tuple(others), count)


def _variable_name(array: DataSet) -> str:
    """The name of the variable, without the groups of the file around it."""
    return array.path.removeprefix("model_weights/").partition("/")[2]


def _is_count(array: DataSet) -> bool:
    return array.name.rstrip("0123456789").rstrip("_") in _COUNTS


def _named(slots: Sequence[DataSet], weights: Sequence[tuple[str, DataSet]]) -> dict[str, tuple[str, str]]:
    """Moments that lie below the name of their weight, ``Adam/dense/kernel/m:0``; nothing unless all of them do."""
    variables = {_variable_name(array).partition(":")[0]: (name, array.shape) for name, array in weights}
    found: dict[str, tuple[str, str]] = {}
    for slot in slots:
        above, _, moment = slot.path.rpartition("/")
        fitting = [name for path, name in variables.items() if f"/{above}".endswith(f"/{path}") and path]
        if len(fitting) != 1 or fitting[0][1] != slot.shape:
            return {}
        found[slot.path] = (fitting[0][0], moment.partition(":")[0])
    return found


def _matched(
    slots: Sequence[DataSet], weights: Sequence[tuple[str, DataSet]], words: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """All moments of one kind in a row, or all of one weight; the shapes tell which."""
    shapes = [array.shape for _, array in weights]
    # Keras 2 keeps a single number where the third moment of a weight would be
    slots = slots[: len(shapes) * (len(slots) // max(len(shapes), 1))] if len(slots) % max(len(shapes), 1) else slots
    times = len(slots) // len(shapes) if shapes else 0
    if not times:
        return {}
    full = [k for k in range(times) if [a.shape for a in slots[k * len(shapes) : (k + 1) * len(shapes)]] == shapes]
    if full:
        pairs = [(k, i, slots[k * len(shapes) + i]) for k in full for i in range(len(shapes))]
    elif [array.shape for array in slots] == [shape for shape in shapes for _ in range(times)]:
        pairs = [(k, i, slots[i * times + k]) for i in range(len(shapes)) for k in range(times)]
    else:
        return {}
    return {array.path: (weights[i][0], words[k] if k < len(words) else f"moment {k + 1}") for k, i, array in pairs}
