"""How the layers of a network are to be looked at, where there is a choice."""

from dataclasses import dataclass

__all__ = ["Wishes"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller wants to see of each layer.

    Attributes:
        parts: rows for the parts of layers too: heads, circuits, operators, means and deviations of experts.
        distance: position of the query minus that of the key, for query-key forms with rotary positions.
        fold_bias: take ``[W b]``, the map of the input and a constant 1, where a layer has a bias.
        fold_norm: take ``W diag(gain)``, where a normalisation right before the layer scales its input; with
            ``fold_bias`` its shift too.
    """

    parts: bool = True
    distance: int = 0
    fold_bias: bool = False
    fold_norm: bool = False
