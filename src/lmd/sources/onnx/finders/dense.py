"""Dense layers: ``Gemm``, ``MatMul`` with a constant on either side, and the constant that is added behind it."""

from collections.abc import Mapping
from math import prod

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.plan.expressions import Applied, Expression
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["bias_behind", "flat", "gemm", "matmul", "scaled", "turned"]


def turned(matrix: Expression) -> Expression:
    """The transpose; of a transpose the matrix itself."""
    if isinstance(matrix, Applied) and matrix.operation == "onnx.Transpose" and matrix.inputs[0] is not None:
        return matrix.inputs[0]
    shape = (matrix.shape[1], matrix.shape[0])
    return Applied("onnx.Transpose", (matrix,), {"perm": [1, 0]}, shape, matrix.dtype, matrix.depth + 1)


def flat(vector: Expression) -> Expression:
    """The same numbers along one axis."""
    if len(vector.shape) == 1:
        return vector
    return Applied("onnx.Flat", (vector,), {}, (prod(vector.shape),), vector.dtype, vector.depth + 1)


def scaled(tensor: Expression, factor: float) -> Expression:
    """``factor`` times a tensor."""
    if factor == 1.0:
        return tensor
    return Applied("onnx.Scaled", (tensor,), {"factor": factor}, tensor.shape, tensor.dtype, tensor.depth + 1)


def is_vector(expression: Expression | None, width: int, axis_from_end: int = 1) -> bool:
    """Whether a constant holds one number for each of ``width`` entries of one axis, counted from the last."""
    if expression is None or prod(expression.shape) != width:
        return False
    place = len(expression.shape) - axis_from_end
    return width == 1 or (0 <= place < len(expression.shape) and expression.shape[place] == width)


def bias_behind(node: Node, view: View, width: int, axis_from_end: int = 1) -> tuple[Expression, Node] | None:
    """The constant that is added to what a node makes, one number for each output, and the node that adds it."""
    added = view.follower(node, "Add")
    if added is None:
        return None
    bias = view.other(added, node.outputs[0])
    return (bias, added) if bias is not None and is_vector(bias, width, axis_from_end) else None


def _dense(weight: Expression, bias: Expression | None) -> Mapping[str, Expression]:
    return {"weight": weight, **({"bias": flat(bias)} if bias is not None else {})}


def gemm(node: Node, view: View) -> Found | None:
    """``alpha A B + beta C`` with a constant ``B``, or a constant ``A``, which acts on the columns of ``B``."""
    settings = node.attributes
    right, left = view.weight(node, 1), view.weight(node, 0)
    if right is not None and len(right.shape) == 2 and node.inputs[0] not in view.constants:
        return _gemm_of_rows(node, view, right, settings)
    if left is not None and len(left.shape) == 2 and node.inputs[1] not in view.constants:
        W = left if not settings.get("transA") else turned(left)
        return _gemm_of_columns(node, view, scaled(W, settings.get("alpha", 1.0)), settings)
    return None


def _gemm_of_rows(node: Node, view: View, right: Expression, settings: Mapping[str, object]) -> Found | None:
    W = right if settings.get("transB") else turned(right)
    bias = view.weight(node, 2)
    if node.takes(2) and (bias is None or not is_vector(bias, W.shape[0])):
        return None
    alpha, beta = (float(str(settings.get(name, 1.0))) for name in ("alpha", "beta"))
    roles = _dense(scaled(W, alpha), scaled(bias, beta) if bias is not None else None)
    value, absorbed, outputs = node.inputs[0], (), node.outputs
    if bias is None and (behind := bias_behind(node, view, W.shape[0])):
        roles, absorbed, outputs = _dense(scaled(W, alpha), behind[0]), (behind[1],), behind[1].outputs
    before = ()
    if settings.get("transA"):
        value = f"{node.outputs[0]}/turned"
        before = (("onnx.Transpose", (node.inputs[0],), (value,), {"perm": [1, 0]}),)
    return Found("dense", roles, {}, (value,), outputs, before, absorbed=absorbed)


def _gemm_of_columns(node: Node, view: View, W: Expression, settings: Mapping[str, object]) -> Found | None:
    if node.takes(2):
        return None
    made = node.outputs[0]
    rows, back = f"{made}/rows", f"{made}/made"
    before = ()
    if not settings.get("transB"):
        before = (("onnx.Transpose", (node.inputs[1],), (rows,), {"perm": [1, 0]}),)
    after = (("onnx.Transpose", (back,), (made,), {"perm": [1, 0]}),)
    return Found("dense", {"weight": W}, {}, (rows if before else node.inputs[1],), (back,), before, after)


def matmul(node: Node, view: View) -> Found | None:
    """``x W^T`` with a constant matrix on the right, or ``W x`` with one on the left."""
    if len(node.inputs) != 2 or not node.outputs:
        return None
    right, left = view.weight(node, 1), view.weight(node, 0)
    if right is not None and len(right.shape) == 2 and node.inputs[0] not in view.constants:
        W = turned(right)
        behind = bias_behind(node, view, W.shape[0])
        roles = _dense(W, behind[0] if behind else None)
        outputs, absorbed = (behind[1].outputs, (behind[1],)) if behind else (node.outputs, ())
        return Found("dense", roles, {}, (node.inputs[0],), outputs, absorbed=absorbed)
    if left is not None and len(left.shape) == 2 and node.inputs[1] not in view.constants:
        return _matmul_of_columns(node, view, left)
    return None


def _matmul_of_columns(node: Node, view: View, W: Expression) -> Found:
    """A vector on the right is taken as it is; the columns of a matrix are laid out as rows and back again."""
    taken, made = node.inputs[1], node.outputs[0]
    vector = view.ranks.get(taken) == 1
    behind = bias_behind(node, view, W.shape[0], 1 if vector else 2)
    if behind and not vector and len(behind[0].shape) < 2:
        behind = None
    roles = _dense(W, behind[0] if behind else None)
    absorbed = (behind[1],) if behind else ()
    outputs = behind[1].outputs if behind else node.outputs
    if vector:
        return Found("dense", roles, {}, (taken,), outputs, absorbed=absorbed)
    rows, back = f"{made}/rows", f"{made}/made"
    before = (("onnx.Turned", (taken,), (rows,), {}),)
    after = (("onnx.TurnedBack", (back, taken), outputs, {}),)
    return Found("dense", roles, {}, (rows,), (back,), before, after, absorbed)
