"""Look-up tables, and the slopes of a PReLU."""

from math import prod

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders.dense import flat
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["gather", "prelu"]


def gather(node: Node, view: View) -> Found | None:
    """Rows of a constant matrix, by their numbers: an embedding."""
    table = view.weight(node, 0)
    if table is None or len(table.shape) != 2 or node.attributes.get("axis", 0) not in (0, -2) or 0 in table.shape:
        return None
    rows = f"{node.outputs[0]}/rows"
    before = (("onnx.Natural", (node.inputs[1],), (rows,), {"count": table.shape[0]}),)
    return Found("embedding", {"weight": table}, {}, (rows,), node.outputs, before)


def prelu(node: Node, view: View) -> Found | None:
    """One slope, or one for each channel, the second axis."""
    slopes, rank = view.weight(node, 1), view.ranks.get(node.inputs[0])
    if slopes is None:
        return None
    width = prod(slopes.shape)
    place = len(slopes.shape) - ((rank or 0) - 1)
    along_channels = bool(rank) and place >= 0 and slopes.shape[place : place + 1] == (width,)
    if width != 1 and not along_channels:
        return None
    return Found("prelu", {"weight": flat(slopes)}, {}, (node.inputs[0],), node.outputs)
