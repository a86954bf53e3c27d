"""One run over the examples: moments, gates, score; then the network as a whole on a sample of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lmd.activations.observing.gates import Gates, GateSums
from lmd.activations.observing.hooks import first_tensor, watched, with_first
from lmd.activations.observing.losses import Loss, LossName, Score, loss_of
from lmd.activations.observing.moments import Moments, Sums, Vectors, takes, vectors_of
from lmd.activations.observing.sample import Sample
from lmd.activations.observing.steps import steps_of
from lmd.activations.observing.whole import (
    Jacobians,
    WholeNetwork,
    along_segments,
    index_pairs,
    input_jacobians,
    pairs_of,
)
from lmd.data.examples import Batch, Examples
from lmd.sources.faults import FOREIGN_FAULTS

__all__ = ["Observed", "Watch", "batch_size", "observe"]

Tell = Callable[[int, int, str], None]

_BATCH_NUMBERS = 1 << 18
_SEGMENTS, _POINTS = 32, 16
_MEMORY = 2 << 30
_WHOLE = "the inputs are whole numbers that an embedding looks up: nothing lies between two of them"


@dataclass(frozen=True, slots=True)
class Watch:
    """A map whose inputs are to be seen.

    Attributes:
        path: of its module.
        part: of a recurrent module: ``l0.hidden`` and so on; else ''.
        shape: ``(out, in)``; of gates ``out`` is the width of the state.
    """

    path: str
    part: str
    shape: tuple[int, int]

    @property
    def key(self) -> str:
        """Path and part."""
        return f"{self.path}.{self.part}" if self.part else self.path


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What a run over the examples has shown.

    Attributes:
        moments: by key of the watch.
        gates: by path of the layer before them.
        whole: the network.
        reasons: key of a watch to why there are no moments of it.
    """

    moments: Mapping[str, Moments]
    gates: Mapping[str, Gates]
    whole: WholeNetwork
    reasons: Mapping[str, str]


def batch_size(shape: tuple[int, ...]) -> int:
    """Examples at a time that a network's own activations leave room for."""
    return max(4, min(256, _BATCH_NUMBERS // max(1, prod(shape))))


def observe(
    model: nn.Module,
    examples: Examples,
    watches: Sequence[Watch],
    *,
    loss: LossName | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> Observed:
    """Run a network over examples and see what its layers see; it is left as it was.

    Args:
        model: the network, in whatever mode.
        examples: as it takes them.
        watches: maps to see the inputs of.
        loss: whose gradients are seen at the outputs; from the targets' type by default.
        seed: of what is drawn: positions, the sample, pairs.
        tell: called with (examples done, examples in all, what is done).

    Raises:
        ValueError: the network does not take the data, or its outputs and the targets do not fit.
    """
    run = _Run(model, watches, loss, seed, targets=examples.has_targets)
    done = 0
    for batch in examples.batches(batch_size(examples.shape)):
        run.add(batch)
        done += len(batch.inputs)
        if tell is not None:
            tell(done, examples.count, "running the data")
    return run.observed(tell)


class _Run:
    def __init__(
        self, model: nn.Module, watches: Sequence[Watch], loss: LossName | None, seed: int, *, targets: bool
    ) -> None:
        self.model, self.with_targets = model, targets
        self.wished: LossName | None = loss
        self.generator = torch.Generator().manual_seed(seed)
        self.modules = dict(model.named_modules())
        self.by_path: dict[str, list[Watch]] = {}
        self.reasons: dict[str, str] = {}
        self.sums = dict(self._allotted(watches))
        # gates are those of the whole network, whichever rows were chosen
        for path, module in self.modules.items():
            if isinstance(module, nn.Linear | _ConvNd):
                self.by_path[path] = []
        for watch in watches:
            self.by_path.setdefault(watch.path, []).append(watch)
        self.gates: dict[str, GateSums] = {}
        self.patterns: set[bytes] | None = set()
        self.score = Score()
        self.loss: Loss | None = None
        self.sample = Sample(self.generator)
        self.classes: dict[int, int] = {}
        self.target_sums = torch.zeros(3, dtype=torch.float64)
        self._hashes: list[Any] = []
        self._outputs: list[tuple[Sums, Vectors, Tensor]] = []
        self._size = 0

    def _allotted(self, watches: Iterable[Watch]) -> Iterable[tuple[str, Sums]]:
        left = _MEMORY
        for watch in watches:
            one_hot = isinstance(self.modules.get(watch.path), nn.Embedding)
            out, inn = watch.shape
            need = 8 * (2 * out**2 + (inn if one_hot else inn**2))
            if not takes(watch.shape, one_hot=one_hot) or need > left:
                self.reasons[watch.key] = f"its second moments take {need / 1e6:,.0f} MB, more than is kept for them"
                continue
            left -= need
            yield watch.key, Sums(watch.key, inn, out, one_hot=one_hot)

    def add(self, batch: Batch) -> None:
        inputs, targets = batch
        self._size, self._hashes, self._outputs = len(inputs), [blake2b(digest_size=16) for _ in inputs], []
        try:
            with watched(self.model, list(self.by_path), self._called, self._gated):
                # without targets nothing comes back
                with torch.set_grad_enabled(targets is not None):
                    outputs = first_tensor(self.model(inputs))
                    if outputs is None:
                        raise TypeError("it gives no tensor")
                if targets is not None:
                    self._score(outputs, targets)
        except FOREIGN_FAULTS as fault:
            if isinstance(fault, _LossError):
                raise ValueError(str(fault)) from fault
            raise ValueError(
                f"the network does not take data of shape {tuple(inputs.shape)} and type {inputs.dtype}: {fault}"
            ) from fault
        finally:
            self._outputs = []
        if self.patterns is not None:
            self.patterns.update(one.digest() for one in self._hashes)
        self.sample.add(inputs, outputs.detach())

    def _called(self, path: str, module: nn.Module, given: tuple[Any, ...], answer: Any) -> Any:
        x, y = first_tensor(given), first_tensor(answer)
        if x is None or y is None:
            return None
        vectors = None
        for watch in self.by_path[path]:
            vectors = self._summed(watch, module, (x.detach(), y.detach()), answer, given)
        watch = next(iter(self.by_path[path]), None)
        if (
            watch is None
            or vectors is None
            or watch.part
            or not torch.is_grad_enabled()
            or not y.dtype.is_floating_point
        ):
            return None
        kept = y if y.requires_grad else y.detach().requires_grad_()
        self._outputs.append((self.sums[watch.key], vectors, kept))
        # a copy goes on: work in place must not reach what is kept
        return with_first(answer, kept.clone())

    def _summed(
        self, watch: Watch, module: nn.Module, call: tuple[Tensor, Tensor], answer: Any, given: tuple[Any, ...]
    ) -> Vectors | None:
        sums = self.sums.get(watch.key)
        if sums is None:
            return None
        if watch.part:
            steps = {part: (a.detach(), b.detach()) for part, a, b in steps_of(module, call[0], answer, given)}
            if watch.part not in steps:
                self.reasons[watch.key] = "of layers stacked in one module only the last gives its states"
                return None
            module, call = nn.Identity(), steps[watch.part]
        vectors = vectors_of(module, *call, watch.shape, self.generator)
        if vectors is not None:
            sums.add(vectors, self._size)
        return vectors

    def _gated(self, path: str, name: str, opened: Tensor) -> None:
        counted = self.gates.get(path)
        if counted is None:
            counted = self.gates[path] = GateSums(path, name, opened.shape[-1])
        patterns = counted.add(opened, self._size)
        if patterns is None:
            self.patterns = None
            return
        for one, pattern in zip(self._hashes, patterns, strict=True):
            one.update(pattern)

    def _score(self, outputs: Tensor, targets: Tensor) -> None:
        try:
            chosen = loss_of(outputs, targets, self.wished if self.loss is None else self.loss.name)
            self.loss = self.loss or chosen
        except ValueError as fault:
            raise _LossError(str(fault)) from fault
        value = self.loss(outputs, targets)
        self.score.add(self.loss, outputs.detach(), targets, value.detach())
        self._count(targets)
        kept = [tensor for _, _, tensor in self._outputs]
        if not kept or not value.requires_grad:
            return
        gradients = torch.autograd.grad(value, kept, allow_unused=True)
        for (sums, vectors, _), gradient in zip(self._outputs, gradients, strict=True):
            if gradient is not None:
                sums.add_deltas(vectors.rows(gradient))

    def _count(self, targets: Tensor) -> None:
        assert self.loss is not None
        if self.loss.name == "mse":
            held = targets.double()
            self.target_sums += torch.stack([held.new_tensor(held.numel()), held.sum(), held.square().sum()])
            return
        for value, number in zip(*torch.unique(targets, return_counts=True), strict=True):
            self.classes[int(value)] = self.classes.get(int(value), 0) + int(number)

    def observed(self, tell: Tell | None) -> Observed:
        moments = {key: found for key, sums in self.sums.items() if (found := sums.moments()) is not None}
        for watches in self.by_path.values():
            for watch in watches:
                if watch.key not in moments:
                    self.reasons.setdefault(watch.key, "it was not called on these data as the map of its matrix")
        gates = {path: sums.gates() for path, sums in self.gates.items()}
        whole = self._with_geometry(self._whole(gates), tell)
        return Observed(moments, _with_segments(gates, whole), whole, self.reasons)

    def _whole(self, gates: Mapping[str, Gates]) -> WholeNetwork:
        score = self.score
        common = max(self.classes.values(), default=0) / max(1, sum(self.classes.values()))
        return WholeNetwork(
            examples=self.sample.seen,
            answers=score.answers,
            right=score.right,
            commonest=common,
            loss=score.loss / score.examples if score.examples else None,
            loss_name=self.loss.name if self.loss else "",
            loss_baseline=self._constant_loss(),
            gates=sum(found.positions * len(found.open_share) for found in gates.values()),
            patterns=None if self.patterns is None or not gates else len(self.patterns),
        )

    def _constant_loss(self) -> float | None:
        if self.loss is None:
            return None
        if self.loss.name == "mse":
            n, total, squares = self.target_sums.tolist()
            return squares / n - (total / n) ** 2
        shares = torch.tensor(list(self.classes.values()), dtype=torch.float64)
        return torch.special.entr(shares / shares.sum()).sum().item()

    def _with_geometry(self, whole: WholeNetwork, tell: Tell | None) -> WholeNetwork:
        sample, outputs = self.sample.taken()
        reasons: dict[str, str] = {}
        if not sample.dtype.is_floating_point:
            return replace(whole, reasons=dict.fromkeys(("segments", "pairs", "jacobians"), _WHOLE))
        near, far = index_pairs(sample, self.generator)
        if not len(near):
            reasons |= dict.fromkeys(("segments", "pairs"), "all examples are the same")
        else:
            whole = replace(whole, near_pairs=pairs_of(sample, outputs, near), far_pairs=pairs_of(sample, outputs, far))
            whole = self._along(whole, sample, near, far, tell)
        try:
            points = sample[_spread(len(sample), _POINTS)]
            whole = replace(whole, jacobians=Jacobians(input_jacobians(self.model, points)))
        except FOREIGN_FAULTS as fault:
            reasons["jacobians"] = str(fault)
        return replace(whole, reasons=reasons)

    def _along(self, whole: WholeNetwork, sample: Tensor, near: Tensor, far: Tensor, tell: Tell | None) -> WholeNetwork:
        if not self.gates:
            return whole
        if tell is not None:
            tell(whole.examples, whole.examples, "segments between examples")
        chosen = [pairs[_spread(len(pairs), _SEGMENTS)] for pairs in (near, far)]
        found = [along_segments(self.model, list(self.by_path), sample, pairs) for pairs in chosen]
        return replace(whole, near=found[0], far=found[1])


class _LossError(ValueError):
    """Outputs and targets that do not fit."""


def _spread(count: int, most: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def _with_segments(gates: Mapping[str, Gates], whole: WholeNetwork) -> dict[str, Gates]:
    if whole.near is None or whole.far is None:
        return dict(gates)
    near, far = whole.near.changes, whole.far.changes
    return {
        path: replace(found, near=near.get(path), far=far.get(path)) if path in near and path in far else found
        for path, found in gates.items()
    }
