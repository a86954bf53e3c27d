"""What one head compares, as arithmetic: the rows of query and key normalised and turned, as far as that is linear."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.layers.thin_product import stacked
from lmd.linalg.rotary import rotated

__all__ = ["Form", "Side", "query_key_factors", "value_output_factors"]


@dataclass(frozen=True, slots=True)
class Side:
    """How one projection's rows of a head become what its head uses.

    Attributes:
        transposed: whether the weight is stored ``(in, out)``.
        from_one: whether 1 is added to the gain.
        centred: whether the mean of the rows is taken out.
        behind_turn: whether gain, mean and shift come after the rotary positions.
        position: where it stands.
    """

    transposed: bool = False
    from_one: bool = False
    centred: bool = False
    behind_turn: bool = False
    position: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """How the parts of a circuit become its factors; plain data, so that it can be sent to another machine.

    Attributes:
        labels: what each part is: ``query``, ``query_bias``, ``query_gain``, ``query_shift``, ``query_whole`` (the
            rows of all heads, for their mean), ``query_whole_bias`` and so on.
        first: the query, or the value.
        second: the key.
        output_transposed: whether the output projection is stored ``(in, out)``.
        frequencies: of the rotary positions where no part has them.
        interleaved: whether neighbours turn together.
        factor: what turning coordinates are multiplied by.
    """

    labels: tuple[str, ...]
    first: Side = Side()
    second: Side = Side()
    output_transposed: bool = False
    frequencies: tuple[float, ...] = ()
    interleaved: bool = False
    factor: float = 1.0


def query_key_factors(*parts: Tensor, form: Form) -> Float64[Tensor, "out_and_in width"]:
    """``W_Q^T`` and ``R W_K`` of a head, stacked."""
    given = dict(zip(form.labels, parts, strict=True))
    Q, K = _head(given, "query", form.first, form), _head(given, "key", form.second, form)
    return stacked(Q.T, K)


def value_output_factors(*parts: Tensor, form: Form) -> Float64[Tensor, "out_and_in width"]:
    """``W_O`` and ``W_V`` of a head, stacked."""
    given = dict(zip(form.labels, parts, strict=True))
    O = given["output"].double()  # noqa: E741 - the literature's letter
    return stacked(O.T if form.output_transposed else O, _head(given, "value", form.first, form))


def _head(given: dict[str, Tensor], role: str, side: Side, form: Form) -> Float64[Tensor, "width in"]:
    """One head's rows in float64: a bias as a further column, then normalised and turned, in the layer's order."""
    W = _with_bias(given, role, side)
    if f"{role}_whole" in given:
        W = W - _with_bias(given, f"{role}_whole", side).mean(0)
    if role == "value":
        return _normalised(W, given, role, side)
    if side.behind_turn:
        return _normalised(_turned(W, given, side, form), given, role, side)
    return _turned(_normalised(W, given, role, side), given, side, form)


def _with_bias(given: dict[str, Tensor], role: str, side: Side) -> Float64[Tensor, "width in"]:
    W = given[role].double()
    W = W.T if side.transposed else W
    bias = given.get(f"{role}_bias")
    return W if bias is None else torch.cat([W, bias.double()[:, None]], dim=1)


def _normalised(
    W: Float64[Tensor, "width in"], given: dict[str, Tensor], role: str, side: Side
) -> Float64[Tensor, "width in_and_size"]:
    """The mean out, the gain on, and the shift as a further column: of the size that the layer divides by."""
    W = W - W.mean(0) if side.centred else W
    if (gain := given.get(f"{role}_gain")) is not None:
        gain = gain.double().reshape(-1, 1)
        W = W * (gain + 1.0 if side.from_one else gain)
    if (shift := given.get(f"{role}_shift")) is not None:
        W = torch.cat([W, shift.double().reshape(-1, 1)], dim=1)
    return W


def _turned(
    W: Float64[Tensor, "width in"], given: dict[str, Tensor], side: Side, form: Form
) -> Float64[Tensor, "width in"]:
    frequencies = given.get("frequencies", torch.tensor(form.frequencies, dtype=torch.float64)).double()
    if not len(frequencies) or (not side.position and form.factor == 1.0):
        return W
    turned = rotated(W, side.position * frequencies, interleaved=form.interleaved)
    turned[: 2 * len(frequencies)] *= form.factor
    return turned
