"""What the row of a circuit says: what is in it, what is left out, what is taken for granted."""

from collections.abc import Iterator

from torch import nn

from lmd.layers.attention.children import Found, global_roles
from lmd.layers.attention.norms import HeadNorm, is_norm_of_heads
from lmd.layers.attention.positions import Rotary
from lmd.sources.network import Network
from lmd.sources.wishes import Wishes

__all__ = ["about_query_key", "about_value_output", "left_out"]

Biased = tuple[bool, HeadNorm | None, HeadNorm | None]
_IN_A_CIRCUIT = ("dropout", "rotary", "rope", "softmax", "activation")
"""What beside projections and norms may be in an attention layer without being missed in a circuit."""


def about_query_key(biased: Biased, rotary: Rotary | None, wishes: Wishes, missing: str) -> str:
    """The note of a query-key form.

    Args:
        biased: whether query or key have biases, then the norms of query and key.
        rotary: its positions.
        wishes: what was asked for.
        missing: what no circuit takes in.
    """
    biases, *norms = biased
    found = [norm for norm in norms if norm is not None]
    texts = ["before scaling and softmax", *_of_norms(found, "query and key", wishes)]
    if biases:
        texts.append(
            "biases folded in: behind the inputs comes the constant 1"
            if wishes.fold_bias
            else "without the biases of query and key"
        )
    texts.extend(_of_positions(rotary, wishes.distance, found))
    return "; ".join(filter(None, (*texts, missing)))


def about_value_output(
    biases: tuple[bool, bool], norm: HeadNorm | None, wishes: Wishes, *, gated: bool, left_out: str
) -> str:
    """The note of a value-output map; ``biases`` tells whether value and output have one."""
    texts = ["before the gate" if gated else ""]
    if norm is not None:
        texts.extend(_of_norms([norm], "value", wishes))
    if biases[0] and wishes.fold_bias:
        texts.append("behind the inputs comes the constant 1")
    elif biases[0]:
        texts.append("without the bias of the value")
    if biases[1]:
        texts.append("the bias of the output is no head's")
    return "; ".join(filter(None, (*texts, left_out)))


def left_out(found: Found, path: str, network: Network) -> str:
    """Which children and parameters of an attention layer are neither projections nor norms of its heads, in words."""
    inside, owner = found.inside, found.owner
    start = f"{inside}." if inside else ""
    places = [child.path for child in (*found.roles.values(), *global_roles(found).values())]
    taken = {place.removeprefix(start).partition(".")[0] for place in places}
    names = [name for name, child in owner.named_children() if name not in taken and _matters(name, child)]
    names += [name for name, _ in owner.named_parameters(recurse=False)]
    if network.readings:
        # a tree built from a file has modules for those of its tensors only that make one
        prefix = "".join(f"{part}." for part in (path, inside) if part)
        numbers = {record.name for record in network.records if record.role == "buffer"}
        own = (n.removeprefix(prefix) for n in network.loaders if n.startswith(prefix) and n not in numbers)
        names += [name for name in own if "." not in name and name not in names]
    names += [text for text in [vars(owner).get("between_products")] if isinstance(text, str)]
    if "logit_scale" in names:
        # as in the second Swin Transformer
        return f"{', '.join(names)} of the layer left out, and the lengths by which it divides each query and key"
    return f"{', '.join(names)} of the layer left out" if names else ""


def _matters(name: str, child: nn.Module) -> bool:
    if isinstance(child, nn.Identity) or any(word in name.lower() for word in _IN_A_CIRCUIT) or is_norm_of_heads(name):
        return False
    return "norm" in name.lower() or next(child.parameters(), None) is not None


def _of_norms(norms: list[HeadNorm], names: str, wishes: Wishes) -> Iterator[str]:
    if not norms:
        return
    if any(norm.gains for norm in norms):
        yield f"with the gains of the {names} norms"
    yield "what the norms divide by, another number for each token, is left out"
    if any(norm.shifts for norm in norms):
        yield (
            "the shift of a norm comes last, whose input is what the norm divides by"
            if wishes.fold_bias
            else f"without the shifts of the {names} norms"
        )
    yield from dict.fromkeys(f"norm {norm.reason}" for norm in norms if norm.reason)


def _of_positions(rotary: Rotary | None, distance: int, norms: list[HeadNorm]) -> Iterator[str]:
    if rotary is None:
        if distance:
            yield f"no rotary positions: distance {distance} has no effect"
        return
    if rotary.reason:
        yield _without_frequencies(rotary, distance)
        return
    yield f"rotary positions at distance {distance}, query minus key" if distance else "rotary positions at distance 0"
    if any(norm.behind_turn and norm.gains for norm in norms):
        first = "query" if distance < 0 else "key"
        yield f"with the {first} at position 0: gains come behind the turn, so that other positions have other forms"
    if rotary.factor != 1.0:
        yield f"turned coordinates of query and key times {rotary.factor:.6g}, as rotary positions of this type do"
    if distance:
        yield from rotary.notes
        if norms and not rotary.known:
            yield "norms taken to come before the turn"


def _without_frequencies(rotary: Rotary, distance: int) -> str:
    if not rotary.turns:
        return f"{rotary.reason}: distance {distance} has no effect here" if distance else ""
    return f"distance {distance} left out: {rotary.reason}" if distance else "rotary positions at distance 0"
