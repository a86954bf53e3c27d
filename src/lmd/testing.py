"""The laws that every layer kind, source, analysis and engine must pass; for the product's tests and for plug-ins.

Each function raises ``AssertionError`` with what was expected and what came.
"""

import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmd.activations.input_sizes import sized
from lmd.engines.local import Engine
from lmd.factors.svd import factors_of
from lmd.findings.analysis import Analysis, NotApplicable, analyses, run
from lmd.findings.quantity import Measured, quantities_of
from lmd.layers.initialised.law import InitialLaw
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.pipeline.decompose import decompose
from lmd.sources.loaders import Loader
from lmd.sources.network import Network
from lmd.sources.torch_module import from_module

__all__ = [
    "Example",
    "Unreadable",
    "check_analysis",
    "check_engine",
    "check_kind",
    "check_source",
    "layers_of",
]

_PICKLE_ALLOWANCE = 10_000
_ROUNDING = 1e-5
"""Matrices are stored in float32 and forward passes run in it: 2^-24 times sums of at most a few hundred terms."""

Pairs = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A module for the contract of a layer kind.

    Attributes:
        name: for test output.
        module: small, with random weights.
        rows: names of the layer matrices it must give, in order.
        agrees: from the module and its matrices by name to pairs that must be equal: the maps applied, and what the
            module's own forward pass says.
        input_shape: shape of one input without the batch axis, for kinds that depend on it.
    """

    name: str
    module: nn.Module
    rows: tuple[str, ...]
    agrees: Callable[[nn.Module, dict[str, Tensor]], Pairs]
    input_shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Unreadable:
    """A loader that knows its shape and refuses to be called: for the law that nothing is read before ``load``."""

    tensors: tuple[str, ...]
    shape: tuple[int, ...]

    def __call__(self) -> Tensor:
        """Refuse."""
        raise AssertionError(f"{self.tensors} was read before load() was called.")

    def narrow(self, dim: int, start: int, length: int) -> "Unreadable":
        """A slice that refuses too."""
        return Unreadable(self.tensors, (*self.shape[:dim], length, *self.shape[dim + 1 :]))


def layers_of(module: nn.Module, input_shape: tuple[int, ...] | None = None) -> dict[str, LayerMatrix]:
    """The layer matrices of a live module, by name; with the shape of an input, operators of convolutions too."""
    return {layer.name: layer for layer in walk(_network(module, input_shape)).layers}


def _network(module: nn.Module, input_shape: tuple[int, ...] | None) -> Network:
    network = from_module(module)
    return network if input_shape is None else sized(network, None, input_shape)


def check_kind(example: Example) -> None:
    """Every law of a layer kind: rows, shapes, orientation, laziness, pickles, coverage, and that the module stays."""
    before = _state(example.module)
    layers = layers_of(example.module, example.input_shape)
    if tuple(layers) != example.rows:
        raise AssertionError(f"{example.name} must give the rows {example.rows}, gave {tuple(layers)}.")
    _check_laziness(example)
    for layer in layers.values():
        _check_layer(layer)
    matrices = {name: layer.load().detach() for name, layer in layers.items()}
    for index, (mapped, own) in enumerate(example.agrees(example.module, matrices)):
        if mapped.shape != own.shape or not torch.allclose(
            mapped.double(), own.double(), atol=_ROUNDING, rtol=_ROUNDING
        ):
            raise AssertionError(f"{example.name}: pair {index} differs: the map gives {mapped}, the module {own}.")
    _check_coverage(example, layers)
    _check_unchanged(example.name, before, _state(example.module))


def _state(module: nn.Module) -> dict[str, Any]:
    tensors = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    modes = {name: child.training for name, child in module.named_modules()}
    hooks = {name: len(child._forward_hooks) + len(child._forward_pre_hooks) for name, child in module.named_modules()}
    return {"tensors": tensors, "modes": modes, "hooks": hooks}


def _check_unchanged(name: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    for key, tensor in before["tensors"].items():
        if not torch.equal(tensor, after["tensors"][key]):
            raise AssertionError(f"{name}: tensor {key!r} was changed.")
    if before["modes"] != after["modes"] or before["hooks"] != after["hooks"]:
        raise AssertionError(f"{name}: training modes or hooks were changed.")


def _check_laziness(example: Example) -> None:
    network = _network(example.module, example.input_shape)
    refusing: dict[str, Loader] = {n: Unreadable(loader.tensors, loader.shape) for n, loader in network.loaders.items()}
    rows = tuple(layer.name for layer in walk(replace(network, loaders=refusing)).layers)
    if rows != example.rows:
        raise AssertionError(f"{example.name} without numbers gave the rows {rows}, must give {example.rows}.")


def _check_layer(layer: LayerMatrix) -> None:
    matrix = layer.load()
    if tuple(matrix.shape) != layer.shape:
        raise AssertionError(f"{layer.name} promised shape {layer.shape}, loads {tuple(matrix.shape)}.")
    if layer.groups > 1 and not torch.equal(torch.block_diag(*layer.blocks()), matrix):
        raise AssertionError(f"{layer.name}: its blocks are not the matrix.")
    axis = 0 if layer.shape[0] >= layer.shape[1] else 1
    if not torch.equal(torch.cat(list(layer.panels()), dim=axis), matrix):
        raise AssertionError(f"{layer.name}: its panels do not make up the matrix.")
    sent = pickle.dumps(layer)
    if len(sent) > matrix.numel() * matrix.element_size() + _PICKLE_ALLOWANCE:
        raise AssertionError(f"{layer.name} pickles to {len(sent)} bytes, its matrix has {matrix.nbytes}.")
    if not torch.equal(pickle.loads(sent).load(), matrix):  # noqa: S301 - our own bytes, of this very call
        raise AssertionError(f"{layer.name} changes when it is pickled.")
    _check_spectrum(layer, matrix)


def _check_spectrum(layer: LayerMatrix, matrix: Tensor) -> None:
    found = factors_of(layer, vectors=None).spectrum
    reference = torch.linalg.svdvals(matrix.double())
    # a product of thin factors leaves out the values that are 0 by construction
    padded = None if found is None else torch.cat([found, found.new_zeros(reference.numel() - found.numel())])
    # 1e-10 of the largest value: what the product promises
    if padded is None or (padded - reference).abs().max() > 1e-10 * max(reference[0].item(), 1e-300):
        raise AssertionError(f"{layer.name}: singular values {found} differ from LAPACK's {reference}.")


def _check_coverage(example: Example, layers: dict[str, LayerMatrix]) -> None:
    coverage = decompose(example.module, vectors=0).coverage
    if coverage.accounted != 1.0:
        raise AssertionError(f"{example.name}: {coverage.accounted} of the parameters are accounted for, must be 1.")
    silent = [t.name for t in coverage.tensors if t.status != "decomposed" and not t.reason]
    if silent:
        raise AssertionError(f"{example.name}: {silent} are not decomposed and have no reason.")
    rows = {name for layer in layers.values() for name in layer.loader.tensors}
    claimed = {t.name for t in coverage.tensors if t.status == "decomposed"}
    if not claimed <= rows:
        raise AssertionError(f"{example.name}: {claimed - rows} count as decomposed and are in no row.")


def _without_start(value: Any) -> Any:
    """Findings but those about the initialisation, of which files of different formats tell different things."""
    if not isinstance(value, Mapping):
        return value
    about = [one for one in analyses().values() if any(needed is InitialLaw for _, needed in one.needs)]
    left_out = {quantity.key for one in about for quantity in quantities_of(one.finds)}
    return {key: number for key, number in value.items() if key not in left_out}


def check_source(write: Callable[[nn.Module, Path], Path], module: nn.Module, folder: Path) -> None:
    """A file gives the rows, matrices and findings of the module it was saved from.

    Args:
        write: saves the module into a folder and returns the path to open.
        module: as the contract of kinds uses it.
        folder: an empty one.
    """
    path = write(module, folder)
    ours, theirs = decompose(module, vectors=0), decompose(path, vectors=0)
    # some formats sort their tensors: rows are compared by name
    found = {record.name: record for record in theirs.layers}
    # a bare file does not tell what parts its layers have, such as how many heads
    wanted = [record for record in ours.layers if record.entry["view_of"] is None or record.name in found]
    if set(found) != {record.name for record in wanted}:
        raise AssertionError(f"{path} has the rows {sorted(found)}, must have {sorted(r.name for r in wanted)}.")
    for record in wanted:
        other = found[record.name]
        for key in ("kind", "shape", "findings"):
            read, held = (_without_start(one.entry[key]) for one in (other, record))
            if read != held:
                raise AssertionError(f"{path}: {key} of {record.name!r} is {read}, not {held}.")
        _check_equal_arrays(record.name, record.arrays(), other.arrays())
    if ours.coverage.parameters != theirs.coverage.parameters or theirs.coverage.accounted != 1.0:
        raise AssertionError(
            f"{path}: {theirs.coverage.parameters} parameters, the module has {ours.coverage.parameters}."
        )


def _check_equal_arrays(name: str, ours: Any, theirs: Any) -> None:
    if set(ours) != set(theirs):
        raise AssertionError(f"{name}: arrays {sorted(theirs)}, must be {sorted(ours)}.")
    for key, tensor in ours.items():
        if not torch.equal(tensor, theirs[key]):
            raise AssertionError(f"{name}: {key} differs.")


def check_analysis(chosen: Analysis, given: dict[type, Any]) -> None:
    """An analysis is documented, sourced, finite, repeatable, picklable, and says when it lacks its inputs.

    Args:
        chosen: the analysis.
        given: one object for each type it needs.
    """
    if not (chosen.function.__doc__ or "").strip():
        raise AssertionError(f"analysis {chosen.name!r} has no docstring.")
    for quantity in quantities_of(chosen.finds):
        blank = [k for k in ("symbol", "unit", "meaning", "source") if not getattr(quantity, k)]
        if blank:
            raise AssertionError(f"quantity {quantity.key!r} has no {blank}.")
    first, second = (run(chosen, "layer", given, strict=True) for _ in range(2))
    for quantity in quantities_of(chosen.finds):
        _check_measured(quantity.key, getattr(first, quantity.key), getattr(second, quantity.key))
    pickle.loads(pickle.dumps(first))  # noqa: S301 - our own bytes, of this very call
    without = run(chosen, "layer", {}, strict=True)
    if not isinstance(without, NotApplicable) or "needs" not in without.reason:
        raise AssertionError(f"analysis {chosen.name!r} without its inputs gave {without}, must be NotApplicable.")


def _check_measured(key: str, first: Measured, second: Measured) -> None:
    if first != second:
        raise AssertionError(f"{key} is {first}, then {second}.")
    if first.value is None and not first.reason:
        raise AssertionError(f"{key} has neither a value nor a reason.")
    if first.value is not None and first.baseline is None and not first.reason:
        raise AssertionError(f"{key} has neither a baseline nor a reason.")
    if first.value is not None and first.direction == "exact" and first.error is None:
        raise AssertionError(f"{key} is called exact and has no error.")


def check_engine(engine: Engine, module: nn.Module) -> None:
    """An engine gives the results of the local one."""
    ours, theirs = decompose(module), decompose(module, engine=engine)
    for record, other in zip(ours.layers, theirs.layers, strict=True):
        if record.entry != other.entry:
            raise AssertionError(f"{record.name}: {other.entry} from the engine, {record.entry} locally.")
        _check_equal_arrays(record.name, record.arrays(), other.arrays())
