"""Every array of a file as a record, and every layer as it will be read; torch is not needed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.hdf5.contents import Contents, DataSet
from lmd.sources.keras.weights.assigned import Assigned, Extra
from lmd.sources.keras.weights.optimiser import Remembered
from lmd.sources.keras.weights.variables import rounded_to, variables_of
from lmd.sources.reading import Confidence, Reading, Role, TensorRecord

__all__ = ["Recorded", "readings_of", "recorded", "trained_weights"]

_WHY = {
    "moving_mean": "mean of what came in, kept for inference and not trained",
    "moving_variance": "variance of what came in, kept for inference and not trained",
    "mean": "counted on data before the training",
    "variance": "counted on data before the training",
    "count": "how many data were counted",
    "kernel_scale": "what the whole numbers of the kernel are divided by",
    "embeddings_scale": "what the whole numbers of the table are divided by",
    "vector_u": "singular vector estimate of a spectral norm",
}
_SHIFT = "a shift of a normalisation: it is no linear map"


@dataclass(slots=True, eq=False)
class Recorded:
    """What an archive needs.

    Attributes:
        records: of all arrays.
        arrays: name of a record to its array.
    """

    records: list[TensorRecord] = field(default_factory=list)
    arrays: dict[str, DataSet] = field(default_factory=dict)

    def add(self, name: str, array: DataSet, role: Role = "parameter", reason: str = "", *, logical: int = 0) -> None:
        """Add one; a name that is taken gets a number."""
        free = name if name not in self.arrays else f"{name} {len(self.arrays)}"
        self.arrays[free] = array
        self.records.append(TensorRecord(free, array.shape, array.dtype, role, reason, array.path, logical=logical))


def trained_weights(model: LayerConfig, assigned: Assigned) -> list[tuple[str, DataSet]]:
    """Name and array of what is trained, in the order of the model."""
    found, beside = [], assigned.beside()
    for leaf in model.leaves():
        own = assigned.variables.get(leaf.path, {})
        for variable in variables_of(leaf) or ():
            if variable.trained and leaf.trainable and variable.role in own:
                found.append((f"{leaf.path}.{variable.role}", own[variable.role]))
        if leaf.path not in assigned.variables:
            extras = [e for e in beside.get(leaf.path, ()) if not e.reason]
            found += [(f"{leaf.path}.{e.role}", e.data_set) for e in extras if leaf.trainable]
    return found


def recorded(model: LayerConfig, assigned: Assigned, kept: Remembered, contents: Contents) -> Recorded:
    """Layers first, then what stands beside them, then the optimiser."""
    found, extras = Recorded(), assigned.beside()
    for leaf in model.leaves():
        trained = {variable.role: variable.trained for variable in variables_of(leaf) or ()}
        for role, array in assigned.variables.get(leaf.path, {}).items():
            last = role.rpartition(".")[2]
            if trained.get(role, True):
                known = prod(array.shape) if _has_a_scale(leaf, array) else 0
                found.add(f"{leaf.path}.{role}", array, reason=_SHIFT if last == "beta" else "", logical=known)
            else:
                found.add(f"{leaf.path}.{role}", array, "buffer", _WHY.get(last, "kept by the layer and not trained"))
        _add_extras(extras.pop(leaf.path, ()), found)
    for own in extras.values():
        _add_extras(own, found)
    _add_rest(kept, contents, assigned, found)
    found.records += contents.without_numbers()
    return found


def _has_a_scale(leaf: LayerConfig, array: DataSet) -> bool:
    """Whether it is whole numbers of which the layer makes real ones."""
    return array.dtype == "int8" and rounded_to(leaf) == "int8"


def _add_extras(extras: Iterable[Extra], found: Recorded) -> None:
    for extra in extras:
        name = f"{extra.layer or 'weights'}.{extra.role}"
        found.add(name, extra.data_set, "buffer" if extra.reason else "parameter", extra.reason)


def _add_rest(kept: Remembered, contents: Contents, assigned: Assigned, found: Recorded) -> None:
    for path, (weight, moment) in kept.moments.items():
        found.add(f"optimizer.{weight}.{moment}", contents.data_sets[path], "optimiser", f"{moment} of {weight}")
    for array in kept.others:
        own = array.path.partition("/")[2].removeprefix("vars/").partition(":")[0].replace("/", ".")
        found.add(f"optimizer.{own}", array, "optimiser", "state of the optimiser")
    used = {*assigned.used, *kept.arrays}
    for path, array in contents.data_sets.items():
        if path in used:
            continue
        if path.startswith(("metrics/", "loss_tracker/", "_metrics/", "_loss_tracker/")):
            found.add(f"metrics.{array.name}", array, "buffer", "a metric, counted while training")
        elif "seed_generator" in path:
            found.add(path.replace("/", "."), array, "buffer", "state of a random generator")
        else:
            found.add(path.replace("/", "."), array)


_Roles = Mapping[str, str]
_RECURRENT = {"kernel": "weight_ih_l0", "recurrent_kernel": "weight_hh_l0", "bias": "bias_ih_l0"}
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_KINDS: dict[str, tuple[str, _Roles]] = {
    **dict.fromkeys(("Dense", "EinsumDense"), ("dense", {"kernel": "weight", "bias": "bias"})),
    **{f"Conv{n}D": ("kernel_matrix", {"kernel": "weight", "bias": "bias"}) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": ("transposed_kernel_matrix", {"kernel": "weight", "bias": "bias"}) for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": ("grouped_kernel_matrix", {"depthwise_kernel": "weight", "bias": "bias"}) for n in (1, 2)},
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU", "RNN"), ("gate", _RECURRENT)),
    "Bidirectional": ("gate", _RECURRENT),
    "Embedding": ("embedding", {"embeddings": "weight"}),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization", "GroupNormalization"), ("diagonal", _NORM)),
    "RMSNormalization": ("diagonal", {"scale": "weight"}),
    "PReLU": ("diagonal", {"alpha": "weight"}),
}
_HEADS = {"query": "query", "key": "key", "value": "value", "output": "attention_output"}


def readings_of(
    model: LayerConfig, assigned: Assigned, reasons: Mapping[str, tuple[Confidence, str]]
) -> tuple[Reading, ...]:
    """How each layer with a linear map is read; with confidence and evidence where no configuration declares it."""
    found: list[Reading] = []
    for leaf in model.leaves():
        arrays = assigned.variables.get(leaf.path, {})
        sure, why = reasons.get(leaf.path, ("declared", ""))
        for path, kind, roles in _parts(leaf, arrays) if arrays else ():
            names = {
                torch_role: f"{leaf.path}.{role}"
                for role, torch_role in roles.items()
                if role in arrays and (_is_real(arrays[role]) or _has_a_scale(leaf, arrays[role]))
            }
            shape = next((arrays[role].shape for role in roles if role in arrays), ())
            found.append(Reading(path, kind, names, shape, sure, reason=why))
    for path, own in assigned.beside().items():
        mapped = (e for e in own if _may_be_mapped(e.data_set) and not e.reason)
        roles = {e.role: f"{path or 'weights'}.{e.role}" for e in mapped}
        if roles:
            found.append(Reading(path or "weights", "raw", roles, reason=assigned.misfits.get(path, "")))
    return tuple(found)


def _parts(leaf: LayerConfig, arrays: Mapping[str, DataSet]) -> Iterator[tuple[str, str, _Roles]]:
    """Path, kind, and Keras's roles to torch's, of each module that a layer becomes."""
    layer = leaf.inside[0] if leaf.class_name in ("TimeDistributed", "SpectralNormalization") and leaf.inside else leaf
    if layer.class_name in ("SeparableConv1D", "SeparableConv2D"):
        yield f"{leaf.path}.depthwise", "grouped_kernel_matrix", {"depthwise_kernel": "weight"}
        yield f"{leaf.path}.pointwise", "kernel_matrix", {"pointwise_kernel": "weight", "bias": "bias"}
    elif layer.class_name.startswith("ConvLSTM"):
        yield f"{leaf.path}.input", "kernel_matrix", {"kernel": "weight", "bias": "bias"}
        yield f"{leaf.path}.hidden", "kernel_matrix", {"recurrent_kernel": "weight"}
    elif "query.kernel" in arrays:
        for part, kind in _HEADS.items():
            yield f"{leaf.path}.{part}", kind, {f"{part}.kernel": "weight", f"{part}.bias": "bias"}
    elif layer.class_name in _KINDS:
        kind, roles = _KINDS[layer.class_name]
        yield leaf.path, kind, _spread(roles, arrays)
    else:
        yield (
            leaf.path,
            "raw",
            {role: role for role, array in arrays.items() if _may_be_mapped(array)},
        )


def _is_real(array: DataSet) -> bool:
    return array.dtype.startswith(("float", "bfloat", "complex"))


def _may_be_mapped(array: DataSet) -> bool:
    """Whether an array of no known layer may become a matrix: whole and complex numbers do not."""
    return _is_real(array) and not array.dtype.startswith("complex") and prod(array.shape) > max(array.shape, default=1)


def _spread(roles: _Roles, arrays: Mapping[str, DataSet]) -> _Roles:
    """Of both directions and of stacked cells too, whose variables have the same names behind a prefix."""
    found: dict[str, str] = {}
    for role in arrays:
        prefix, _, last = role.rpartition(".")
        if last in roles:
            found[role] = f"{roles[last]}_{prefix}" if prefix else roles[last]
    return found
