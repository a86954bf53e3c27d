"""Operations on whole numbers that stand for real ones: the matrix is that of the real numbers."""

from collections.abc import Mapping

import numpy

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders.dense import turned
from lmd.sources.onnx.finders.kernels import geometry
from lmd.sources.onnx.plan.expressions import Applied, Expression, Leaf, numbers
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["conv_integer", "matmul_integer", "qgemm", "qlinear_conv", "qlinear_matmul", "step_of"]

_WHERE = {
    "QLinearConv": (3, 4, 5),
    "QLinearMatMul": (3, 4, 5),
    "ConvInteger": (1, -1, 3),
    "MatMulInteger": (1, -1, 3),
    "QGemm": (3, 4, 5),
}
"""Places of weight, scale and zero point among the inputs; -1 where the scale comes later."""


def _real(node: Node, view: View, axis: int) -> Expression | None:
    """The real numbers of a weight of whole ones; in units of its step where the scale is not found."""
    at, scale_at, zero_at = _WHERE[node.op]
    codes = view.constants.get(node.inputs[at]) if at < len(node.inputs) else None
    if codes is None or codes.dtype not in ("int8", "uint8"):
        return None
    zero = view.constants.get(node.inputs[zero_at]) if zero_at < len(node.inputs) else None
    scale = view.weight(node, scale_at) if scale_at >= 0 else _scale_behind(node, view)
    if zero_at < len(node.inputs) and node.inputs[zero_at] and zero is None:
        return None
    if scale is None:
        return None
    inputs = (codes, scale, zero)
    return Applied("onnx.DequantizeLinear", inputs, {"axis": axis}, codes.shape, scale.dtype, codes.depth + 1)


def _scale_behind(node: Node, view: View) -> Expression | None:
    """The constant scale that the product is multiplied with, alone or with that of the input, at once or in turn."""
    made = view.follower(node, "Cast") or node
    while (product := view.follower(made, "Mul")) is not None:
        other = next((value for value in product.inputs if value not in made.outputs), "")
        maker = next((n for n in view.nodes if other in n.outputs and n.op == "Mul"), None)
        for value in (other, *(maker.inputs if maker is not None else ())):
            scale = view.constants.get(value)
            if scale is not None and scale.dtype.startswith("float"):
                return scale
        made = product
    return None


def qlinear_conv(node: Node, view: View) -> Found | None:
    """A convolution of whole numbers, with the scale of its kernel."""
    weight = _real(node, view, 0)
    settings = geometry(node, weight) if weight is not None else None
    return None if weight is None or settings is None else Found("conv", {"weight": weight}, settings)


def conv_integer(node: Node, view: View) -> Found | None:
    """The same, whose scale is applied behind it."""
    return qlinear_conv(node, view)


def qlinear_matmul(node: Node, view: View) -> Found | None:
    """A product of whole numbers with a constant matrix on the right."""
    weight = _real(node, view, 1)
    if weight is None or len(weight.shape) != 2 or 0 in weight.shape:
        return None
    return Found("dense", {"weight": turned(weight)})


def matmul_integer(node: Node, view: View) -> Found | None:
    """The same, whose scale is applied behind it."""
    return qlinear_matmul(node, view)


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
        if one.operation == "onnx.DequantizeLinear" and one.inputs[0] is not None and len(one.inputs) > 1:
            scale = numbers(one.inputs[1])
            step = float(numpy.abs(scale).max()) if scale is not None and scale.size else None
            return {"codes": one.inputs[0].dtype, "step": step}
        waiting.extend(part for part in one.inputs if part is not None)
    return None
