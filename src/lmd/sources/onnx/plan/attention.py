"""Torch's own attention layer, whose exporter leaves its names: ``in_proj`` of all three and ``out_proj`` beside it."""

from collections.abc import Mapping
from dataclasses import replace

from lmd.sources.graph.step import Step
from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.plan.expressions import integers
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["attention_of", "with_attention"]

_FUSED, _OUTPUT = ".in_proj", ".out_proj"
_MOVES = frozenset(("Reshape", "Unsqueeze", "Squeeze", "Transpose", "Gather", "Split", "Slice", "Mul", "Div"))
_FARTHEST = 10
"""Operations between the projection and the axis of its heads."""


def attention_of(path: str, layers: Mapping[str, Found], step: Step, view: View) -> Found | None:
    """The whole layer in the place of its fused projection; None if the graph does not show it or its heads."""
    output = layers.get(f"{path.removesuffix(_FUSED)}{_OUTPUT}")
    found = layers[path]
    if not path.endswith(_FUSED) or found.kind != "dense" or output is None or output.kind != "dense":
        return None
    rows, width = found.roles["weight"].shape
    if rows != 3 * width or output.roles["weight"].shape != (width, width):
        return None
    heads = _heads(step, width, view)
    roles = {f"in_proj_{role}": expression for role, expression in found.roles.items()}
    return replace(found, kind="attention", roles=roles, settings={"heads": heads}) if heads else None


def with_attention(step: Step, path: str, found: Found) -> Step:
    """The step of the fused projection, which takes the layer's own weights."""
    bias = f"{path}.in_proj_bias" if "in_proj_bias" in found.roles else ""
    return replace(step, operation="onnx.Affine", module="", inputs=(step.inputs[0], f"{path}.in_proj_weight", bias))


def _heads(step: Step, width: int, view: View) -> int:
    """Number of heads, from the first shape behind the projection that ends in the width of one; 0 if none does."""
    values = [*step.outputs]
    for _ in range(_FARTHEST):
        nodes: list[Node] = [node for value in values for node in view.takers.get(value, ())]
        for node in nodes:
            wanted = integers(view.constants.get(node.inputs[1])) if node.op == "Reshape" else None
            if wanted and len(wanted) > 2 and 0 < wanted[-1] <= width and width % wanted[-1] == 0 and wanted[-2] != 3:
                return width // wanted[-1]
        values = [value for node in nodes if node.op in _MOVES for value in node.outputs]
    return 0
