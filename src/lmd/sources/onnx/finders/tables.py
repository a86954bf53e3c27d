"""Look-up tables, and the slopes of a PReLU."""

from collections.abc import Iterable, Mapping
from math import prod

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders.dense import flat
from lmd.sources.onnx.finders.quantised import table_of_codes
from lmd.sources.onnx.plan.expressions import Applied, Leaf, leaves
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["gather", "prelu", "read_tables"]


def gather(node: Node, view: View) -> Found | None:
    """Rows of a constant matrix, by their numbers: an embedding."""
    table, read = view.weight(node, 0), None
    if table is None:
        table, read = table_of_codes(node, view), view.follower(node, "DequantizeLinear")
    if table is None or len(table.shape) != 2 or node.attributes.get("axis", 0) not in (0, -2) or 0 in table.shape:
        return None
    if read is None and table is not view.weight(node, 0):
        # others take the codes: the look-up is run as it is
        return Found("embedding", {"weight": table})
    rows = f"{node.outputs[0]}/rows"
    before = (("onnx.Natural", (node.inputs[1],), (rows,), {"count": table.shape[0]}),)
    outputs = read.outputs if read else node.outputs
    return Found("embedding", {"weight": table}, {}, (rows,), outputs, before, absorbed=(read,) if read else ())


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


def read_tables(layers: Iterable[Found], view: View) -> Mapping[str, Applied]:
    """Codes that no layer has and that operations take as real numbers, such as positions, by their names."""
    claimed = {leaf.name for found in layers for role in found.roles.values() for leaf in leaves(role)}
    found: dict[str, Applied] = {}
    for value in view.takers:
        real = view.constants.get(value)
        if isinstance(real, Applied) and real.operation == "onnx.DequantizeLinear" and isinstance(real.inputs[0], Leaf):
            codes = real.inputs[0].constant
            if codes.name not in claimed and all(leaf.place is not None for leaf in leaves(real)):
                found.setdefault(codes.name, real)
    return found
