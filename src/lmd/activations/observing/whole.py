"""The network as one map: how it bends its inputs, between neighbours, along segments and at single points."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from lmd.activations.observing.hooks import first_tensor, watched

__all__ = ["Along", "Jacobians", "Pairs", "WholeNetwork", "along_segments", "input_jacobians", "pairs_of"]

_STEPS = 8
_MOST_OUTPUTS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Distances between two examples, at the input and at the output, each pair once.

    Attributes:
        inputs: ``(pairs,)``.
        outputs: ``(pairs,)``.
    """

    inputs: Float64[Tensor, " pairs"]
    outputs: Float64[Tensor, " pairs"]


@dataclass(frozen=True, slots=True, eq=False)
class Along:
    """Gates that change along segments.

    Attributes:
        lengths: ``(pairs,)`` of the segments.
        changes: path of a layer to ``(pairs,)``, how many of its gates change between successive points, summed.
    """

    lengths: Float64[Tensor, " pairs"]
    changes: dict[str, Float64[Tensor, " pairs"]]

    @property
    def whole(self) -> Float64[Tensor, " pairs"]:
        """Changes of all gates."""
        return sum(self.changes.values(), torch.zeros_like(self.lengths))


@dataclass(frozen=True, slots=True, eq=False)
class Jacobians:
    """Singular values of the derivative of the outputs by the inputs at single examples.

    Attributes:
        values: ``(points, min(outputs, inputs))``, descending.
        product: product of the norms of the layers, an upper bound of the derivative of a chain of layers; None where
            it is not known.
        chain: whether the network is such a chain.
    """

    values: Float64[Tensor, "points values"]
    product: float | None = None
    chain: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class WholeNetwork:
    """What a network does on examples, as a whole.

    Attributes:
        examples: how many were run.
        answers: how many were judged: examples, or tokens; 0 without classes.
        right: how many of them the network gives its highest score.
        commonest: share of the commonest class.
        loss: mean loss of one example, with ``loss_name``; None without targets.
        loss_name: ``cross_entropy`` or ``mse``.
        loss_baseline: the loss of the best constant answer.
        gates: number of gates of one example.
        patterns: different patterns of all gates; None where examples cannot be told apart.
        near, far: segments between neighbours, and between examples drawn at random.
        near_pairs, far_pairs: distances likewise.
        jacobians: at some examples.
        reasons: why one of them is missing, by its name.
    """

    examples: int
    answers: int = 0
    right: int = 0
    commonest: float = 0.0
    loss: float | None = None
    loss_name: str = ""
    loss_baseline: float | None = None
    gates: int = 0
    patterns: int | None = None
    near: Along | None = None
    far: Along | None = None
    near_pairs: Pairs | None = None
    far_pairs: Pairs | None = None
    jacobians: Jacobians | None = None
    reasons: dict[str, str] = field(default_factory=dict)


def neighbours(sample: Tensor) -> Tensor:
    """``(n,)`` index of each example's nearest other one that is not the same, by exact distances; -1 if all are."""
    flat = sample.reshape(len(sample), -1).double()
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    # equal examples have no segment between them
    distances[distances == 0] = torch.inf
    nearest = distances.min(dim=1)
    return torch.where(nearest.values.isfinite(), nearest.indices, -1)


def index_pairs(sample: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Neighbours, each pair once, and as many pairs drawn at random: ``(pairs, 2)`` each."""
    nearest = neighbours(sample)
    ends = torch.stack([torch.arange(len(sample)), nearest], dim=1)[nearest >= 0]
    near = torch.unique(ends.sort(dim=1).values, dim=0)
    far = torch.randint(len(sample), (4 * max(len(near), 1), 2), generator=generator)
    flat = sample.reshape(len(sample), -1)
    apart = (flat[far[:, 0]] != flat[far[:, 1]]).any(dim=1)
    return near, far[apart][: max(len(near), 1)]


def pairs_of(sample: Tensor, outputs: Tensor, pairs: Tensor) -> Pairs:
    """Distances of pairs of examples."""
    flat = [tensor.reshape(len(tensor), -1).double() for tensor in (sample, outputs)]
    found = [torch.linalg.vector_norm(t[pairs[:, 0]] - t[pairs[:, 1]], dim=1) for t in flat]
    return Pairs(*found)


def along_segments(model: nn.Module, paths: list[str], sample: Tensor, pairs: Tensor) -> Along:
    """Count the gates that change between successive points of each segment, nine points with its ends.

    A gate that changes twice between two of them is missed: the counts are lower bounds.
    """
    lengths, changes = [], {}
    weights = torch.linspace(0, 1, _STEPS + 1, dtype=sample.dtype).reshape(-1, *(1,) * (sample.ndim - 1))
    for index, (a, b) in enumerate(pairs.tolist()):
        points = sample[a] + weights * (sample[b] - sample[a])
        lengths.append(torch.linalg.vector_norm((sample[b] - sample[a]).double()).item())
        for path, gates in gates_at(model, paths, points).items():
            flips = (gates[1:] != gates[:-1]).sum().item()
            changes.setdefault(path, torch.zeros(len(pairs), dtype=torch.float64))[index] = flips
    return Along(torch.tensor(lengths, dtype=torch.float64), changes)


def gates_at(model: nn.Module, paths: list[str], points: Tensor) -> dict[str, Tensor]:
    """Open gates behind each layer at each point, ``(points, gates)``."""
    found: dict[str, list[Tensor]] = {}

    def gate(path: str, name: str, opened: Tensor) -> None:
        if len(opened) == len(points):
            found.setdefault(path, []).append(opened.reshape(len(points), -1))

    with torch.no_grad(), watched(model, paths, None, gate):
        model(points)
    return {path: torch.cat(parts, dim=1) for path, parts in found.items()}


def input_jacobians(model: nn.Module, sample: Tensor) -> Float64[Tensor, "points values"]:
    """Singular values of the derivative of the outputs by the inputs, at each example, by reverse differentiation.

    Raises:
        ValueError: more outputs than a derivative for each is taken for.
    """
    with watched(model, [], None, None), torch.enable_grad():
        x = sample.detach().clone().requires_grad_()
        outputs = first_tensor(model(x))
        assert outputs is not None
        flat = outputs.reshape(len(x), -1)
        if flat.shape[1] > _MOST_OUTPUTS:
            raise ValueError(
                f"the network has {flat.shape[1]:,} outputs; derivatives are taken of at most {_MOST_OUTPUTS}"
            )
        rows: list[Any] = []
        for j in range(flat.shape[1]):
            # examples do not see each other in evaluation mode: the sum gives the derivative of each
            (row,) = torch.autograd.grad(flat[:, j].sum(), x, retain_graph=True, allow_unused=True)
            rows.append(torch.zeros_like(x) if row is None else row)
    J = torch.stack([row.reshape(len(x), -1) for row in rows], dim=1).double()
    return torch.linalg.svdvals(J)
