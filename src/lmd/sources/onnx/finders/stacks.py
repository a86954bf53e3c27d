"""Products with several constant matrices at once: a matrix for each head, group or expert, each read as its own."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders import dense
from lmd.sources.onnx.plan.expressions import Applied, Expression
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["einsum", "matmul"]

_PAIR = 2
_MOST = 4096
"""Matrices of a stack: each is a row."""


def matmul(node: Node, view: View) -> Found | None:
    """A constant matrix on either side, or a stack of them along its first axes."""
    return dense.matmul(node, view) or _stacked_matmul(node, view)


def _stacked_matmul(node: Node, view: View) -> Found | None:
    right, left = view.weight(node, 1), view.weight(node, 0)
    if right is not None and len(right.shape) > 2 and node.inputs[0] not in view.constants:
        return _found(right, [*range(len(right.shape) - 2)], [len(right.shape) - 1], [len(right.shape) - 2])
    if left is not None and len(left.shape) > 2 and node.inputs[1] not in view.constants:
        return _found(left, [*range(len(left.shape) - 2)], [len(left.shape) - 2], [len(left.shape) - 1])
    return None


def einsum(node: Node, view: View) -> Found | None:
    """A sum over letters: those that the other factor and the weight share alone are inputs of the map."""
    equation = str(node.attributes.get("equation", "")).replace(" ", "")
    factors, arrow, made = equation.partition("->")
    letters = factors.split(",")
    weights = [view.weight(node, place) for place in range(len(node.inputs))]
    places = [place for place, weight in enumerate(weights) if weight is not None]
    if not arrow or len(letters) != 2 or len(node.inputs) != 2 or len(places) != 1:
        return None
    weight, own, other = weights[places[0]], letters[places[0]], letters[1 - places[0]]
    if weight is None or "." in own or len(set(own)) != len(own) or len(own) != len(weight.shape):
        return None
    shared = set(other) & set(own)
    stacked = [own.index(a) for a in own if a in shared and a in made]
    inputs = [own.index(a) for a in other if a in shared and a not in made]
    outputs = [own.index(a) for a in made if a in own and a not in other]
    # a letter of the weight alone that is summed is no part of a map
    sound = inputs and outputs and len(stacked) + len(inputs) + len(outputs) == len(own)
    found = _found(weight, stacked, outputs, inputs) if sound else None
    return _with_heads(found, node, view, tuple(weight.shape[axis] for axis in outputs)) if found else None


def _with_heads(found: Found, node: Node, view: View, made: tuple[int, ...]) -> Found:
    """With the number of heads where outputs lie along two axes, and the bias that is added behind."""
    added, heads = view.follower(node, "Add"), {"heads": made[0]} if len(made) == _PAIR else {}
    bias = view.other(added, node.outputs[0]) if added is not None else None
    if found.kind != "dense":
        return found
    shift = {"bias": dense.flat(bias)} if bias is not None and bias.shape == made else {}
    return replace(found, roles={**found.roles, **shift}, settings={**found.settings, **heads})


def _found(weight: Expression, stacked: list[int], outputs: list[int], inputs: list[int]) -> Found | None:
    """The layer whose matrices are told by axes of a weight; the node is run as it is."""
    count, rows, columns = (_product(weight, axes) for axes in (stacked, outputs, inputs))
    if 0 in weight.shape or count > _MOST:
        return None
    if count == 1:
        matrix = _laid_out(weight, [*stacked, *outputs, *inputs], (rows, columns))
        return Found("dense", {"weight": matrix})
    if [stacked, sorted(outputs + inputs)] == [[0], [1, 2]]:
        # each matrix is then read without the others
        return Found("stack", {"weight": weight}, {"turned": outputs == [2]})
    matrices = _laid_out(weight, [*stacked, *outputs, *inputs], (count, rows, columns))
    return Found("stack", {"weight": matrices}, {"turned": False})


def _product(weight: Expression, axes: Sequence[int]) -> int:
    return prod(weight.shape[axis] for axis in axes)


def _laid_out(weight: Expression, axes: list[int], shape: tuple[int, ...]) -> Expression:
    """The same numbers with the axes in this order, some of them taken as one."""
    turned = tuple(weight.shape[axis] for axis in axes)
    order = Applied("onnx.Transpose", (weight,), {"perm": axes}, turned, weight.dtype, weight.depth + 1)
    return Applied("onnx.LaidOut", (order,), {"shape": shape}, shape, weight.dtype, weight.depth + 2)
