"""LSTM, GRU and RNN nodes whose weights are constant."""

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["recurrent"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_BESIDE = {"LSTM": 7, "GRU": 6, "RNN": 6}
"""Number of inputs that torch's layers have a counterpart for; what comes behind are peepholes."""


def recurrent(node: Node, view: View) -> Found | None:
    """A layer with the usual activations; others hold their weights and are no operation that is known."""
    gates, weights = _GATES[node.op], [view.weight(node, 1), view.weight(node, 2)]
    W, R = weights
    settings = node.attributes
    direction = settings.get("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    if W is None or R is None or len(W.shape) != 3 or len(R.shape) != 3 or 0 in (*W.shape, *R.shape):
        return None
    hidden = R.shape[2]
    if W.shape[:2] != (count, gates * hidden) or R.shape[:2] != W.shape[:2]:
        return None
    roles = {"W": W, "R": R}
    if node.takes(3):
        bias = view.weight(node, 3)
        if bias is None or bias.shape != (count, 2 * gates * hidden):
            return None
        roles["B"] = bias
    chosen = {
        "mode": node.op,
        "hidden_size": hidden,
        "input_size": W.shape[2],
        "direction": direction,
        "layout": settings.get("layout", 0),
        "reset_after": bool(settings.get("linear_before_reset", 0)) or node.op != "GRU",
        "activation": _activations(node)[0].lower() if node.op == "RNN" else "",
    }
    if not _is_usual(node, view):
        return Found("recurrent", roles, chosen)
    starts = tuple(node.takes(place) for place in range(4, _BESIDE[node.op]))
    return Found("recurrent", roles, chosen, (node.inputs[0], *starts), node.outputs)


def _activations(node: Node) -> list[str]:
    found = node.attributes.get("activations") or _USUAL[node.op]
    return [str(name) for name in found]


def _is_usual(node: Node, view: View) -> bool:
    settings, count = node.attributes, 2 if node.attributes.get("direction") == "bidirectional" else 1
    usual = _USUAL[node.op]
    allowed = [usual * count, usual] if node.op != "RNN" else [["Tanh"] * count, ["Tanh"], ["Relu"] * count, ["Relu"]]
    return (
        _activations(node) in allowed
        and "clip" not in settings
        and not settings.get("input_forget")
        and not any(node.inputs[_BESIDE[node.op] :])
        and not any(settings.get(name) for name in ("activation_alpha", "activation_beta"))
    )
