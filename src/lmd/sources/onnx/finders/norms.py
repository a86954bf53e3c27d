"""Normalisations, and the gains and shifts of channels that are left where one was folded or spelled out."""

from math import prod

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders.dense import flat
from lmd.sources.onnx.plan.expressions import Applied, Expression, numbers
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["batch_norm", "channel_scale", "group_norm", "instance_norm", "layer_norm", "rms_norm"]


def batch_norm(node: Node, view: View) -> Found | None:
    """Evaluation mode, the only one in a file that is run."""
    parts = [view.weight(node, place) for place in range(1, 5)]
    width = prod(parts[0].shape) if parts[0] is not None else 0
    if not width or node.attributes.get("training_mode") or len([o for o in node.outputs if o]) != 1:
        return None
    if node.attributes.get("spatial", 1) != 1:
        return None
    found = {name: p for name, p in zip(("weight", "bias", "running_mean", "running_var"), parts, strict=True) if p}
    if len(found) != 4 or any(part.shape != (width,) for part in found.values()):
        return None
    settings = {"eps": node.attributes.get("epsilon", 1e-5)}
    return Found("batch_norm", found, settings, (node.inputs[0],), node.outputs[:1])


def instance_norm(node: Node, view: View) -> Found | None:
    """Each channel of each example by itself."""
    weight, bias = view.weight(node, 1), view.weight(node, 2)
    if weight is None or bias is None or len(weight.shape) != 1 or weight.shape != bias.shape or 0 in weight.shape:
        return None
    if _is_of_groups(node, view, weight, bias):
        return None
    settings = {"eps": node.attributes.get("epsilon", 1e-5)}
    return Found("instance_norm", {"weight": weight, "bias": bias}, settings, (node.inputs[0],), node.outputs)


def _is_of_groups(node: Node, view: View, weight: Expression, bias: Expression) -> bool:
    """Whether it is the middle of a normalisation of groups, which torch's exporter spells out: no gain of its own."""
    maker = view.makers.get(node.inputs[0])
    gain, shift = numbers(weight), numbers(bias)
    reshaped = maker is not None and maker.op == "Reshape" and view.follower(node, "Reshape") is not None
    return reshaped and gain is not None and shift is not None and bool((gain == 1).all() and not shift.any())


def layer_norm(node: Node, view: View) -> Found | None:
    """Over the last axes, as many as the gain has."""
    weight, bias = view.weight(node, 1), view.weight(node, 2)
    if weight is None or len([o for o in node.outputs if o]) != 1 or 0 in weight.shape or len(weight.shape) < 1:
        return None
    axis = node.attributes.get("axis", -1)
    rank = view.ranks.get(node.inputs[0])
    axes = -axis if axis < 0 else (rank or 0) - axis
    shifted = bool(node.takes(2))
    if axes != len(weight.shape) or (shifted and (bias is None or bias.shape != weight.shape)):
        return None
    roles = {"weight": weight, **({"bias": bias} if bias is not None else {})}
    settings = {"eps": node.attributes.get("epsilon", 1e-5)}
    return Found("layer_norm", roles, settings, (node.inputs[0],), node.outputs[:1])


def rms_norm(node: Node, view: View) -> Found | None:
    """Without a mean, over the last axis."""
    weight = view.weight(node, 1)
    if weight is None or len(weight.shape) != 1 or node.attributes.get("axis", -1) != -1 or 0 in weight.shape:
        return None
    if len([o for o in node.outputs if o]) != 1 or len(node.inputs) != 2:
        return None
    settings = {"eps": node.attributes.get("epsilon", 1e-5)}
    return Found("rms_norm", {"weight": weight}, settings, (node.inputs[0],), node.outputs[:1])


def group_norm(node: Node, view: View) -> Found | None:
    """With a gain for each channel, which it has since version 21."""
    weight, bias = view.weight(node, 1), view.weight(node, 2)
    groups = node.attributes.get("num_groups", 0)
    if view.version < 21 or weight is None or bias is None or len(weight.shape) != 1 or weight.shape != bias.shape:
        return None
    if groups < 1 or weight.shape[0] % groups or 0 in weight.shape:
        return None
    settings = {"eps": node.attributes.get("epsilon", 1e-5), "groups": groups}
    return Found("group_norm", {"weight": weight, "bias": bias}, settings, (node.inputs[0],), node.outputs)


def channel_scale(node: Node, view: View) -> Found | None:
    """A constant that multiplies, or divides, each entry of one axis; the constant added behind it is its shift."""
    places = [place for place in range(len(node.inputs)) if node.inputs[place] not in view.constants]
    if len(node.inputs) != 2 or len(places) != 1 or (node.op == "Div" and places != [0]) or len(node.outputs) != 1:
        return None
    taken = node.inputs[places[0]]
    weight = view.other(node, taken)
    if weight is None or not _is_gain(weight) or _is_of_codes(taken, view):
        return None
    gain = flat(weight)
    if node.op == "Div":
        gain = Applied("onnx.Reciprocal", (gain,), {}, gain.shape, gain.dtype, gain.depth + 1)
    roles, outputs, absorbed = {"weight": gain}, node.outputs, ()
    added = view.follower(node, "Add")
    bias = view.other(added, node.outputs[0]) if added else None
    along = bias is not None and _axis_from_end(bias) == _axis_from_end(weight)
    if added is not None and bias is not None and along and prod(bias.shape) == prod(weight.shape):
        roles, outputs, absorbed = {**roles, "bias": flat(bias)}, added.outputs, (added,)
    settings = {"shape": weight.shape, "shift": bias.shape if absorbed and bias is not None else ()}
    return Found("scale", roles, settings, (taken,), outputs, absorbed=absorbed)


def _is_of_codes(value: str, view: View) -> bool:
    """Whether a value is the scale of codes, or a product of codes, so that what multiplies it is a scale too."""
    maker = view.makers.get(value)
    if maker is not None and maker.op == "Cast":
        maker = view.makers.get(maker.inputs[0])
    return maker is not None and maker.op in ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")


def _is_gain(weight: Expression) -> bool:
    return prod(weight.shape) > 1 and prod(weight.shape) == max(weight.shape)


def _axis_from_end(weight: Expression) -> int:
    """Which axis has the entries, counted from the last; 0 if none has."""
    return next((len(weight.shape) - axis for axis, n in enumerate(weight.shape) if n > 1), 0)
