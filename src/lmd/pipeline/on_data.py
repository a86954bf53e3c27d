"""What the layers and the whole network see of the data, row by row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lmd.activations.activations import Activations, capture
from lmd.activations.observing.gates import Gates
from lmd.activations.observing.losses import LossName
from lmd.activations.observing.moments import Moments
from lmd.activations.observing.observe import Observed, Watch, observe
from lmd.activations.observing.whole import WholeNetwork
from lmd.atlas.layer_record import LayerRecord, findings_entry
from lmd.data.examples import Examples
from lmd.findings.analysis import analyses_of_network, run
from lmd.layers.layer_matrix import LayerMatrix
from lmd.sources.network import Network
from lmd.sources.runnable import runnable

__all__ = ["SeenOnData", "network_findings", "seen_on_data"]

_PICTURED = 2000
"""Examples in a picture of points, where they are streamed."""
_NO_INPUTS = "the inputs of this row are not seen: it is a part of a layer, or its module is not called as one matrix"
_NO_GATES = "no nonlinearity stands right behind this layer"


@dataclass(frozen=True, slots=True, eq=False)
class SeenOnData:
    """What was seen.

    Attributes:
        given: name of a row to what analyses of it may ask for, by type.
        why: name of a row to why something is missing.
        whole: the network; None without data.
    """

    given: Mapping[str, Mapping[type, Any]] = field(default_factory=dict)
    why: Mapping[str, Mapping[type, str]] = field(default_factory=dict)
    whole: WholeNetwork | None = None


def seen_on_data(  # noqa: PLR0913 - what is to be seen of what, and how, keyword-only
    network: Network,
    layers: Sequence[LayerMatrix],
    examples: Examples | None,
    *,
    labels: Tensor | None = None,
    loss: LossName | None = None,
    seed: int = 0,
    tell: Callable[[int, int, str], None] | None = None,
) -> SeenOnData:
    """Run the network over the examples; nothing is seen without.

    Raises:
        ValueError: it cannot be run, or does not take them.
    """
    if examples is None:
        return SeenOnData()
    model = runnable(network)
    modules = {network.names.get(path, path) or "weight": (path, module) for path, module in model.named_modules()}
    rows = {row.name: found for row in layers if (found := _watch(row, modules)) is not None}
    watches = {watch.key: watch for watch in rows.values()}
    pictured = dict(_pictured(model, examples, labels, _linear(layers, modules)))
    observed = observe(model, examples, list(watches.values()), loss=loss, seed=seed, tell=tell)
    given, why = {}, {}
    for row in layers:
        given[row.name] = dict(_given(row, rows.get(row.name), observed))
        if row.name in pictured:
            given[row.name][Activations] = pictured[row.name]
        reason = _NO_INPUTS if row.name not in rows else observed.reasons.get(rows[row.name].key, "")
        why[row.name] = {Gates: _NO_GATES, **({Moments: reason} if reason else {})}
    return SeenOnData(given, why, observed.whole)


def _watch(row: LayerMatrix, modules: Mapping[str, tuple[str, nn.Module]]) -> Watch | None:
    if row.view_of is not None or not row.own_inputs:
        return None
    # an input more is the constant 1 of a bias that was folded in
    path, module = modules.get(row.name, ("", None))
    out, inn = row.shape
    # what goes into a normalisation's scale is what it has normalised, which nobody sees
    if row.kind not in ("gate", "diagonal") and module is not None:
        folded = 0 if row.bias is not None else _folded(module, inn, row)
        return Watch(path, "", (out, inn - folded))
    if row.kind == "gate":
        for name, (path, module) in modules.items():
            if isinstance(module, nn.RNNBase | nn.RNNCellBase) and (
                name == "weight" or row.name.startswith(f"{name}.")
            ):
                inside = row.name if name == "weight" else row.name.removeprefix(f"{name}.")
                part = inside if inside.endswith(("input", "hidden")) else inside.rpartition(".")[0]
                return Watch(path, part, (module.hidden_size, inn))
    return None


def _folded(module: nn.Module, width: int, row: LayerMatrix) -> int:
    if isinstance(module, _ConvNd):
        own = module.weight[0].numel() * module.groups
        return width - own if width - own == row.groups else 0
    return int(width == getattr(module, "in_features", width) + 1)


def _given(row: LayerMatrix, watch: Watch | None, observed: Observed) -> Iterator[tuple[type, Any]]:
    if watch is None:
        return
    moments, gates = observed.moments.get(watch.key), observed.gates.get(watch.path)
    if moments is not None:
        yield Moments, _with_constant(replace(moments, layer=row.name), row)
    if gates is not None and not watch.part:
        yield Gates, replace(gates, layer=row.name)


def _with_constant(moments: Moments, row: LayerMatrix) -> Moments:
    """The second moments of the inputs and the constant 1 that a map with its bias folded in reads last."""
    if moments.input_second.ndim != 2 or row.shape[1] != moments.input_mean.numel() + 1:
        return moments
    mean, one = moments.input_mean, moments.input_mean.new_ones(1)
    second = torch.cat([torch.cat([moments.input_second, mean[:, None]], dim=1), torch.cat([mean, one])[None]])
    return replace(moments, input_mean=torch.cat([mean, one]), input_second=second)


def _linear(layers: Iterable[LayerMatrix], modules: Mapping[str, tuple[str, nn.Module]]) -> dict[str, LayerMatrix]:
    # a map of what comes into the normalisation before the layer is asked about other inputs than the layer's own
    known = ((row, modules[row.name]) for row in layers if row.name in modules and row.own_inputs)
    return {path: row for row, (path, module) in known if isinstance(module, nn.Linear)}


def _pictured(
    model: nn.Module, examples: Examples, labels: Tensor | None, rows: Mapping[str, LayerMatrix]
) -> Iterator[tuple[str, Activations]]:
    """Inputs and outputs themselves of dense layers, of all examples in memory or of the first of a stream."""
    inputs, targets = examples.head(examples.count if examples.table.form == "tensor" else _PICTURED)
    if labels is not None:
        labels = labels[: len(inputs)]
    elif targets is not None and targets.ndim == 1 and not targets.dtype.is_floating_point:
        labels = targets
    for seen in capture(model, inputs, labels, list(rows)):
        yield rows[seen.layer].name, _widened(seen, rows[seen.layer])


def _widened(seen: Activations, row: LayerMatrix) -> Activations:
    """The inputs with the constant 1 that a map with its bias folded in reads last."""
    if seen.inputs.ndim != 2 or row.shape[1] != seen.inputs.shape[1] + 1:
        return seen
    ones: Tensor = seen.inputs.new_ones(len(seen.inputs), 1)
    return replace(seen, inputs=torch.cat([seen.inputs, ones], dim=1))


def network_findings(seen: SeenOnData, records: Sequence[LayerRecord], *, whole: bool) -> dict[str, Any]:
    """What was found about the network as a whole, as JSON values; nothing without data.

    Args:
        seen: what was seen.
        records: the layers, decomposed.
        whole: whether they are all layers, so that their norms multiply to that of the network.
    """
    found = seen.whole
    if found is None:
        return {}
    if found.jacobians is not None and whole:
        found = replace(found, jacobians=replace(found.jacobians, product=_product(seen, records)))
    return findings_entry([run(chosen, "", {WholeNetwork: found}) for chosen in analyses_of_network()])


def _product(seen: SeenOnData, records: Sequence[LayerRecord]) -> float | None:
    """Of the norms of all layers whose inputs were seen: of convolutions, the bounds of their operators."""
    bounds: dict[str, float] = {}
    for record in records:
        value = record.entry["findings"].get("operator_norm_upper", {}).get("value")
        if value is not None:
            bounds[record.entry["view_of"]] = max(value, bounds.get(record.entry["view_of"], 0.0))
    product = 1.0
    for record in records:
        if Moments not in seen.given.get(record.name, {}):
            continue
        known = record.entry["findings"].get("spectral_norm", {}).get("value")
        patches = record.entry["kind"] == "kernel_matrix"
        norm = bounds.get(record.name, known if not patches or "do not overlap" in record.entry["note"] else None)
        if norm is None:
            return None
        product *= norm
    return product
