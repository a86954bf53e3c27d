"""Torch's own attention layer, whose exporter leaves its names: ``in_proj`` of all three and ``out_proj`` beside it."""

from collections.abc import Mapping
from dataclasses import replace

from lmd.sources.graph.step import Step
from lmd.sources.onnx.plan.expressions import Expression
from lmd.sources.onnx.plan.view import Found

__all__ = ["cut_attention", "fused_attention", "with_attention"]

_FUSED, _OUTPUT = ".in_proj", ".out_proj"


def fused_attention(path: str, layers: Mapping[str, Found], heads: int) -> Found | None:
    """The whole layer in the place of its fused projection; None if that is none, or its heads are not known."""
    found = layers[path]
    if not path.endswith(_FUSED) or not heads or not _fits(found.roles["weight"], path.removesuffix(_FUSED), layers):
        return None
    roles = {f"in_proj_{role}": expression for role, expression in found.roles.items()}
    return replace(found, kind="attention", roles=roles, settings={"heads": heads})


def cut_attention(
    path: str, layers: Mapping[str, Found], constants: Mapping[str, Expression], heads: int
) -> Found | None:
    """The layer at a path whose fused projection the graph cuts into pieces before it multiplies with them."""
    weight, bias = constants.get(f"{path}.in_proj_weight"), constants.get(f"{path}.in_proj_bias")
    if weight is None or not heads or path in layers or len(weight.shape) != 2 or not _fits(weight, path, layers):
        return None
    roles = {"in_proj_weight": weight}
    if bias is not None and bias.shape == weight.shape[:1]:
        roles["in_proj_bias"] = bias
    return Found("attention", roles, {"heads": heads})


def _fits(weight: Expression, path: str, layers: Mapping[str, Found]) -> bool:
    """Whether the shapes of the projections and of the output are those of torch's layer."""
    output = layers.get(f"{path}{_OUTPUT}")
    rows, width = weight.shape
    square = output is not None and output.kind == "dense" and output.roles["weight"].shape == (width, width)
    return square and rows == 3 * width


def with_attention(step: Step, path: str, found: Found) -> Step:
    """The step of the fused projection, which takes the layer's own weights."""
    bias = f"{path}.in_proj_bias" if "in_proj_bias" in found.roles else ""
    return replace(step, operation="onnx.Affine", module="", inputs=(step.inputs[0], f"{path}.in_proj_weight", bias))
