"""Operations on whole numbers that stand for real ones: the matrix is that of the real numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

import numpy

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders.dense import bias_behind, flat, turned
from lmd.sources.onnx.finders.kernels import geometry
from lmd.sources.onnx.plan.expressions import Applied, Expression, Leaf, main_leaf, numbers
from lmd.sources.onnx.plan.view import Found, View

__all__ = [
    "conv_integer",
    "matmul_integer",
    "of_gates",
    "qgemm",
    "qlinear_conv",
    "qlinear_matmul",
    "step_of",
    "table_of_codes",
]

_WHERE = {
    "QLinearConv": (3, 4, 5),
    "QLinearMatMul": (3, 4, 5),
    "ConvInteger": (1, -1, 3),
    "MatMulInteger": (1, -1, 3),
    "QGemm": (3, 4, 5),
}
"""Places of weight, scale and zero point among the inputs; -1 where the scale comes later."""
_MOVES = frozenset(("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Expand"))
_READERS = frozenset(("DequantizeLinear", "QGemm", "MatMulInteger", "ConvInteger"))
DECODED = ("onnx.DequantizeLinear", "onnx.FromBits")
"""Operations whose first input is codes, and the second their scale."""
_SCALES = 2
"""Of a product: that of each factor."""
_BITS = (2, 4, 8)
_MOST = 20
"""Values between a look-up and who reads it."""


def _real(node: Node, view: View, axis: int) -> Expression | None:
    """The real numbers of a weight of whole ones; in units of its step where the scale is not found."""
    at, scale_at, zero_at = _WHERE[node.op]
    codes = view.constants.get(node.inputs[at]) if at < len(node.inputs) else None
    if codes is None or codes.dtype not in ("int8", "uint8"):
        return None
    zero = view.constants.get(node.inputs[zero_at]) if zero_at < len(node.inputs) else None
    scale = view.weight(node, scale_at) if scale_at >= 0 else _scale_behind(node, view, at)
    if zero_at < len(node.inputs) and node.inputs[zero_at] and zero is None:
        return None
    if scale is None:
        return None
    inputs = (codes, scale, zero)
    return Applied("onnx.DequantizeLinear", inputs, {"axis": axis}, codes.shape, scale.dtype, codes.depth + 1)


def _scale_behind(node: Node, view: View, place: int) -> Expression | None:
    """The constant scale of one factor, among what the product is multiplied with, at once or in turn."""
    scales, dynamic, _ = _scales_behind(node, view)
    if dynamic or len(scales) < 2:
        # the scale of the other factor is computed as the network runs
        return scales[0] if scales and place else None
    codes = main_leaf(view.constants[node.inputs[place]]) if node.inputs[place] in view.constants else None
    stem = codes.name.removesuffix("_quantized") if codes is not None else ""
    named = [scale for scale in scales[:2] if isinstance(scale, Leaf) and scale.constant.name == f"{stem}_scale"]
    return named[0] if len(named) == 1 else scales[place]


def _scales_behind(node: Node, view: View) -> tuple[list[Expression], bool, Node]:
    """The constant factors of a product in their order, whether there are others, and who multiplies with the last."""
    made, found, dynamic = view.follower(node, "Cast") or node, list[Expression](), False
    while len(found) + dynamic < _SCALES and (product := view.follower(made, "Mul")) is not None:
        other = next((value for value in product.inputs if value not in made.outputs), "")
        maker = view.makers.get(other)
        for value in maker.inputs if maker is not None and maker.op == "Mul" else (other,):
            factors = _factors(view.constants.get(value))
            dynamic |= not factors
            found += factors
        made = product
    return found, dynamic, made


def _factors(scale: Expression | None) -> list[Expression]:
    """The scales whose product is a constant; none for what is not one."""
    if scale is None or not scale.dtype.startswith("float"):
        return []
    if isinstance(scale, Applied) and scale.operation == "onnx.Mul":
        return [part for part in scale.inputs if part is not None]
    return [scale]


def table_of_codes(node: Node, view: View) -> Expression | None:
    """The real numbers of a table of codes, with the scale that a node behind the look-up reads them by."""
    codes = view.constants.get(node.takes(0))
    if codes is None or codes.dtype not in ("int8", "uint8"):
        return None
    for reader, place in _readers(node.outputs[0], view):
        scale, zero_at = view.weight(reader, place + 1), place + 2
        if reader.op.endswith("Integer"):
            scale, zero_at = _scale_behind(reader, view, place), 2 + place
        zero = view.constants.get(reader.takes(zero_at))
        if scale is not None and prod(scale.shape) == 1 and (zero is not None or not reader.takes(zero_at)):
            inputs = (codes, scale, zero)
            return Applied("onnx.DequantizeLinear", inputs, {}, codes.shape, scale.dtype, codes.depth + 1)
    return None


def _readers(value: str, view: View) -> Iterator[tuple[Node, int]]:
    """Nodes that take codes with their scale beside them, and where, behind nodes that only move codes."""
    waiting = [value]
    for one in waiting:
        for node in view.takers.get(one, ()) if len(waiting) < _MOST else ():
            if node.op in _MOVES:
                waiting += node.outputs
            elif node.op.startswith("QLinear") or node.op in _READERS:
                yield node, node.inputs.index(one)


def qlinear_conv(node: Node, view: View) -> Found | None:
    """A convolution of whole numbers, with the scale of its kernel."""
    weight = _real(node, view, 0)
    settings = geometry(node, weight) if weight is not None else None
    return None if weight is None or settings is None else Found("conv", {"weight": weight}, settings)


def conv_integer(node: Node, view: View) -> Found | None:
    """The same, whose scale and bias are applied behind it."""
    return _shifted(qlinear_conv(node, view), node, view)


def _shifted(found: Found | None, node: Node, view: View) -> Found | None:
    """With the bias that is added behind the scales; nodes are run as they are."""
    if found is None:
        return None
    weight = found.roles["weight"]
    behind = bias_behind(_scales_behind(node, view)[2], view, weight.shape[0], max(len(weight.shape) - 1, 1))
    return replace(found, roles={**found.roles, "bias": flat(behind[0])}) if behind else found


def qlinear_matmul(node: Node, view: View) -> Found | None:
    """A product of whole numbers with a constant matrix on the right."""
    weight = _real(node, view, 1)
    if weight is None or len(weight.shape) != 2 or 0 in weight.shape:
        return None
    return Found("dense", {"weight": turned(weight)})


def matmul_integer(node: Node, view: View) -> Found | None:
    """The same, whose scale and bias are applied behind it."""
    return _shifted(qlinear_matmul(node, view), node, view)


def qgemm(node: Node, view: View) -> Found | None:
    """Onnxruntime's product of codes, with a matrix that may be turned."""
    direct = bool(node.attributes.get("transB"))
    weight = _real(node, view, 0 if direct else 1)
    if weight is None or len(weight.shape) != 2 or 0 in weight.shape:
        return None
    return Found("dense", {"weight": weight if direct else turned(weight)})


def step_of(weight: Expression) -> Mapping[str, object] | None:
    """Type and largest step of the whole numbers a weight is stored as; None for one stored as real numbers."""
    waiting: list[Expression] = [weight]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Leaf):
            continue
        if one.operation in DECODED and one.inputs[0] is not None and len(one.inputs) > 1:
            scale = _stored(one.inputs[1])
            step = float(numpy.abs(scale).max()) if scale is not None and scale.size else None
            bits = one.attributes.get("bits", 8)
            return {"codes": one.inputs[0].dtype if bits == 8 else f"{bits} bits", "largest step": step}
        waiting.extend(part for part in one.inputs if part is not None)
    return None


def _stored(scale: Expression | None) -> numpy.ndarray | None:
    """The numbers of a scale, which may be laid out in another way."""
    if isinstance(scale, Applied) and scale.operation == "onnx.Flat":
        return numbers(scale.inputs[0])
    return numbers(scale)


def of_gates(codes: Expression, scale: Expression, zero: Expression | None) -> Expression | None:
    """Matrices ``(directions, gates, inputs)`` of codes stored turned, with a scale for each direction, or each row."""
    count, columns, rows = codes.shape
    lies = Applied("onnx.Transpose", (codes,), {"perm": [0, 2, 1]}, (count, rows, columns), codes.dtype, 1)
    if prod(scale.shape) not in (1, count, count * rows):
        return None
    shape = (prod(scale.shape), count * rows // prod(scale.shape), columns)
    cut = Applied("onnx.LaidOut", (lies,), {"shape": shape}, shape, codes.dtype, 2)
    inputs = (cut, flat(scale), flat(zero) if zero is not None else None)
    real = Applied("onnx.DequantizeLinear", inputs, {"axis": 0}, shape, scale.dtype, 3)
    return Applied("onnx.LaidOut", (real,), {"shape": lies.shape}, lies.shape, scale.dtype, 4)


def matmul_nbits(node: Node, view: View) -> Found | None:
    """Onnxruntime's product with a matrix of a few bits each, packed, with a scale for each block of a row."""
    shape = (node.attributes.get("N", 0), node.attributes.get("K", 0))
    weight = None if node.takes(4) else _of_bits(node, view, (1, 2, 3), shape)
    bias = view.weight(node, 5)
    if weight is None or (node.takes(5) and bias is None):
        return None
    behind = bias_behind(node, view, shape[0]) if bias is None else None
    shift = behind[0] if behind else bias
    roles = {"weight": weight, **({"bias": flat(shift)} if shift is not None else {})}
    outputs, absorbed = (behind[1].outputs, (behind[1],)) if behind else (node.outputs, ())
    return Found("dense", roles, {}, (node.inputs[0],), outputs, absorbed=absorbed)


def gather_blocks(node: Node, view: View) -> Found | None:
    """Onnxruntime's look-up in such a matrix."""
    codes, settings = view.constants.get(node.takes(0)), node.attributes
    bits = settings.get("bits", 4)
    if codes is None or len(codes.shape) != 2 or settings.get("gather_axis", 0) or bits not in _BITS:
        return None
    if settings.get("quantize_axis", 1) not in (1, -1):
        return None
    table = _of_bits(node, view, (0, 2, 3), (codes.shape[0], codes.shape[1] * 8 // bits))
    return None if table is None else Found("embedding", {"weight": table}, {}, (node.inputs[1],), node.outputs)


def _of_bits(node: Node, view: View, places: tuple[int, int, int], shape: tuple[int, int]) -> Expression | None:
    codes, scale, zero = (view.constants.get(node.takes(place)) for place in places)
    bits, block = node.attributes.get("bits", 4), node.attributes.get("block_size", 128)
    if codes is None or scale is None or codes.dtype != "uint8" or bits not in _BITS or block < 1 or 0 in shape:
        return None
    blocks = shape[0] * -(-shape[1] // block)
    packed = prod(codes.shape) in (blocks * block * bits // 8, shape[0] * shape[1] * bits // 8)
    if not packed or prod(scale.shape) != blocks or (node.takes(places[2]) and zero is None):
        return None
    settings = {"shape": shape, "bits": bits, "block": block}
    return Applied("onnx.FromBits", (codes, scale, zero), settings, shape, scale.dtype, codes.depth + 1)
