"""Weights without a configuration: classes of layers from the names and shapes of their arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.hdf5.contents import Contents, DataSet
from lmd.sources.keras.weights.assigned import Assigned
from lmd.sources.keras.weights.by_names import listed
from lmd.sources.keras.weights.by_paths import CONTAINERS, numbered
from lmd.sources.keras.weights.guesses import Guess, guessed
from lmd.sources.reading import Confidence

__all__ = ["Bare", "bare_model"]

_KERAS = frozenset(
    ("kernel", "embeddings", "gamma", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel", "moving_mean")
)
_INNER = ("forward_layer", "backward_layer", "cell", "layer", "query_dense", "key_dense", "value_dense", "output_dense")
"""Groups of Keras 3 that are parts of a layer."""


@dataclass(slots=True, eq=False)
class Bare:
    """Weights alone, as a model whose layers nobody connects.

    Attributes:
        model: the layers.
        assigned: their arrays.
        reasons: path of a layer to how sure its class is, and what told it.
    """

    model: LayerConfig
    assigned: Assigned
    reasons: dict[str, tuple[Confidence, str]] = field(default_factory=dict)


def bare_model(contents: Contents) -> Bare | None:
    """The layers that the arrays look like; None where nothing looks like Keras."""
    root = "model_weights" if "model_weights" in contents.groups else ""
    names = contents.groups.get(root, {}).get("layer_names")
    if names is not None:
        groups = dict(_of_names(contents, root, names))
    elif any(path.rpartition("/")[2] == "vars" for path in contents.groups):
        groups = dict(_of_paths(contents))
    elif any(array.name in _KERAS for array in contents.data_sets.values()):
        groups = dict(_apart("", [a for a in contents.data_sets.values() if not a.path.startswith("optimizer")]))
    else:
        return None
    return _model(groups) if groups else None


def _of_names(contents: Contents, root: str, names: Sequence[str]) -> Iterator[tuple[str, list[DataSet]]]:
    for name in names:
        if arrays := listed(contents, f"{root}/{name}".lstrip("/")):
            yield from _apart(name, arrays)


def _apart(name: str, arrays: Sequence[DataSet]) -> Iterator[tuple[str, list[DataSet]]]:
    """A layer's arrays, or those of each layer of a nested model."""
    folders: dict[str, list[DataSet]] = {}
    for array in arrays:
        folders.setdefault(array.path.rpartition("/")[0], []).append(array)
    lasts = [folder.rpartition("/")[2] for folder in folders]
    directions = [last for last in folders if "/forward_" in f"/{last}" or "/backward_" in f"/{last}"]
    heads = {"query", "key", "value"} <= set(lasts)
    if name and (len(folders) == 1 or len(directions) == len(folders) or (heads and len(folders) == 4)):
        yield name, list(arrays)
        return
    for folder, own in folders.items():
        parts = folder.split("/")
        inner = parts[-1]
        path = folder.replace("/", ".") if not name else f"{name}.{inner}" if inner != name else name
        yield path, own


def _of_paths(contents: Contents) -> Iterator[tuple[str, list[DataSet]]]:
    bases: dict[str, list[DataSet]] = {}
    for path in contents.groups:
        above, _, last = path.rpartition("/")
        if last != "vars" or above.startswith(("optimizer", "metrics", "_metrics")) or "seed_generator" in above:
            continue
        arrays = numbered(contents, above)
        parts = above.split("/")
        while len(parts) > 1 and parts[-1].lstrip("_") in _INNER:
            parts.pop()
        if arrays:
            bases.setdefault("/".join(parts), []).extend(arrays)
    for base, arrays in bases.items():
        yield ".".join(part for part in base.split("/") if part not in CONTAINERS) or "weights", _in_keras_order(arrays)


def _in_keras_order(arrays: list[DataSet]) -> list[DataSet]:
    """Parts of a layer in the order in which Keras makes them, where the file has them by their names."""

    def place(array: DataSet) -> tuple[int, ...]:
        parts = [part.lstrip("_") for part in array.path.split("/")]
        order = ("forward_layer", "backward_layer", "query_dense", "key_dense", "value_dense", "output_dense")
        return tuple(order.index(part) for part in parts if part in order)

    return sorted(arrays, key=place)


def _model(groups: Mapping[str, list[DataSet]]) -> Bare:
    found = Bare(LayerConfig("", "Functional", ""), Assigned())
    layers = []
    for path, arrays in groups.items():
        guess: Guess = guessed(path.rpartition(".")[2], arrays)
        layer = LayerConfig(path, guess.class_name, path, guess.settings, inside=guess.inside)
        layers.append(layer)
        found.assigned.give(layer, arrays)
        found.reasons[path] = (guess.confidence, guess.reason)
    found.model = LayerConfig("", "Functional", "", inside=tuple(layers))
    return found
