"""Graph layers with a stack of message weights: one for each type of edge, each basis or each step."""

import re
from collections.abc import Iterator

from torch import Tensor, nn

from lmd.layers.convolutions.pooled import as_computed
from lmd.layers.layer_matrix import LayerMatrix, transposed
from lmd.layers.registry import claims, join, own_shapes
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network
from lmd.sources.reading import Confidence

__all__ = ["attention_of_edges", "messages_in_steps", "relational_messages"]

_COEFFICIENTS = re.compile(r"^(w_)?comp$|^coeff?s?$")
_ROOT = re.compile(r"^(root|loop_weight)$")
_MOST_RELATIONS = 128
"""Views of single relations: each reads all bases."""


def _first(own: dict[str, tuple[int, ...]], pattern: re.Pattern[str]) -> str:
    return next((name for name, shape in own.items() if pattern.search(name) and len(shape) == 2), "")


def _has_relations(module: nn.Module) -> bool:
    """A module with a stack ``weight`` beside ``root`` or coefficients ``comp``, as relational graph layers have."""
    own = own_shapes(module)
    weight = own.get("weight", ())
    root, comp = _first(own, _ROOT), _first(own, _COEFFICIENTS)
    if len(weight) not in (3, 4) or not (root or comp):
        return False
    inn, out = weight[-2:]
    if len(weight) == 4:
        inn, out = inn * weight[1], out * weight[1]
    return (not root or own[root] == (inn, out)) and (not comp or own[comp][1] == weight[0])


@claims(_has_relations)
def relational_messages(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in)`` for each relation or basis, block-diagonal where stored in blocks; of bases each relation too.

    A relation's map is the sum of the bases times its row of coefficients. The root maps the node itself.

    References:
        Schlichtkrull et al. 2018.
    """
    own = own_shapes(module)
    loader, comp = network.loader(join(path, "weight")), _first(own, _COEFFICIENTS)
    inn, out = loader.shape[-2:]
    sure: Confidence = "siblings" if inn != out else "guess"
    others = () if inn != out else ("transposed",)
    blocks = loader.shape[1] if len(loader.shape) == 4 else 1
    shape = (out * blocks, inn * blocks)
    word = "basis" if comp else "relation"
    for index in range(loader.shape[0]):
        note = f"messages of {word} {index} of {loader.shape[0]}; stored (in, out)"
        name, part = join(path, f"weight.{index}"), loader.narrow(0, index, 1)
        yield LayerMatrix(name, "dense", shape, part, _each_turned, blocks, None, sure, others, note)
    if comp:
        yield from _relations(path, loader, network.loader(join(path, comp)), network, sure)
        note = f"coefficients: from {loader.shape[0]} bases to each relation"
        loaded = network.loader(join(path, comp))
        yield LayerMatrix(join(path, comp), "dense", (loaded.shape[0], loaded.shape[1]), loaded, note=note)
    root = _first(own, _ROOT)
    if root:
        loaded, note = network.loader(join(path, root)), "of the node itself; stored (in, out)"
        name = join(path, root)
        yield LayerMatrix(name, "dense", shape, loaded, transposed, confidence=sure, alternatives=others, note=note)


def _each_turned(stack: Tensor) -> Tensor:
    return stack.mT


def _relations(
    path: str, bases: Loader, coefficients: Loader, network: Network, sure: Confidence
) -> Iterator[LayerMatrix]:
    if not network.wishes.parts or len(bases.shape) != 3:
        return
    count, (inn, out) = coefficients.shape[0], bases.shape[1:]
    left = count - _MOST_RELATIONS
    for index in range(min(count, _MOST_RELATIONS)):
        row = coefficients.narrow(0, index, 1)
        note = f"messages of relation {index} of {count}: its coefficients times the bases"
        if left > 0:
            note = f"{note}; {left} more left out, each is its row of the coefficients times the bases"
        loader = Combined(_mixed, (row, bases), (out, inn))
        name = join(path, f"relation.{index}")
        of = join(path, f"weight.{bases.shape[0] - 1}")
        yield LayerMatrix(name, "dense", (out, inn), loader, as_computed, view_of=of, confidence=sure, note=note)


def _mixed(row: Tensor, bases: Tensor) -> Tensor:
    return (row.double().reshape(-1, 1, 1) * bases.double()).sum(0).T


def _in_steps(module: nn.Module) -> bool:
    """A module with a stack of square maps and a GRU cell of that width, as in gated graph networks."""
    weight = own_shapes(module).get("weight", ())
    cells = [child for child in module.children() if isinstance(child, nn.GRUCell)]
    return len(weight) == 3 and weight[1] == weight[2] and any(cell.input_size == weight[2] for cell in cells)


@claims(_in_steps)
def messages_in_steps(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(out, in)``: what is sent in each of the steps; they follow each other, and are no experts.

    References:
        Li et al. 2016.
    """
    loader = network.loader(join(path, "weight"))
    steps, width = loader.shape[:2]
    for index in range(steps):
        note = f"messages of step {index} of {steps}; stored (in, out), as graph libraries multiply from the right"
        part = loader.narrow(0, index, 1)
        name = join(path, f"weight.{index}")
        yield LayerMatrix(
            name,
            "dense",
            (width, width),
            part,
            _each_turned,
            confidence="guess",
            alternatives=("transposed",),
            note=note,
        )


_SCORES = re.compile(r"^(att(_src|_dst|_edge|_l|_r|_i|_j)?|attn(_l|_r|_e)?)$")


def _scores(module: nn.Module) -> list[str]:
    found = own_shapes(module).items()
    return [name for name, shape in found if _SCORES.search(name) and len(shape) == 3 and shape[0] == 1]


def _scores_edges(module: nn.Module) -> bool:
    """A module with attention vectors ``att``, ``att_src``, ``attn_l`` … of shape ``(1, heads, width)``."""
    return bool(_scores(module))


@claims(_scores_edges)
def attention_of_edges(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """``(heads, heads * width)``, block-diagonal: the score that each head gives to its own features.

    References:
        Velickovic et al. 2018; Brody, Alon & Yahav 2022.
    """
    for name in _scores(module):
        loader = network.loader(join(path, name))
        heads, width = loader.shape[1:]
        note = f"attention vectors of {heads} heads, each on its own {width} features"
        yield LayerMatrix(
            join(path, name),
            "dense",
            (heads, heads * width),
            loader,
            _each_row,
            heads,
            confidence="siblings",
            note=note,
        )


def _each_row(vectors: Tensor) -> Tensor:
    return vectors.reshape(vectors.shape[1], 1, vectors.shape[2])
