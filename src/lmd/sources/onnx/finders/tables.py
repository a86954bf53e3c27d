"""Look-up tables, and the slopes of a PReLU."""

from math import prod

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders.dense import flat
from lmd.sources.onnx.plan.expressions import Applied, Expression
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["gather", "prelu"]


def gather(node: Node, view: View) -> Found | None:
    """Rows of a constant matrix, by their numbers: an embedding."""
    table, read = view.weight(node, 0), None
    if table is None:
        table, read = _decoded(node, view)
    if table is None or len(table.shape) != 2 or node.attributes.get("axis", 0) not in (0, -2) or 0 in table.shape:
        return None
    rows = f"{node.outputs[0]}/rows"
    before = (("onnx.Natural", (node.inputs[1],), (rows,), {"count": table.shape[0]}),)
    outputs = read.outputs if read else node.outputs
    return Found("embedding", {"weight": table}, {}, (rows,), outputs, before, absorbed=(read,) if read else ())


def _decoded(node: Node, view: View) -> tuple[Expression | None, Node | None]:
    """A table of codes, as the real numbers that are read from it behind the look-up, and who reads them."""
    codes, read = view.constants.get(node.takes(0)), view.follower(node, "DequantizeLinear")
    scale = view.weight(read, 1) if read else None
    if codes is None or read is None or scale is None or prod(scale.shape) != 1 or codes.dtype not in ("int8", "uint8"):
        return None, None
    zero = view.constants.get(read.takes(2))
    if read.takes(2) and zero is None:
        return None, None
    inputs = (codes, scale, zero)
    return Applied("onnx.DequantizeLinear", inputs, {}, codes.shape, scale.dtype, codes.depth + 1), read


def prelu(node: Node, view: View) -> Found | None:
    """One slope, or one for each channel, the second axis."""
    slopes, rank = view.weight(node, 1), view.ranks.get(node.inputs[0])
    if slopes is None:
        return None
    width = prod(slopes.shape)
    place = len(slopes.shape) - ((rank or 0) - 1)
    along_channels = bool(rank) and place >= 0 and slopes.shape[place : place + 1] == (width,)
    if not rank and slopes.shape == (width, *[1] * (len(slopes.shape) - 1)):
        # by its shape one slope for each channel; the node itself tells how it meets its input
        return Found("prelu", {"weight": flat(slopes)})
    if width != 1 and not along_channels:
        return None
    return Found("prelu", {"weight": flat(slopes)}, {}, (node.inputs[0],), node.outputs)
