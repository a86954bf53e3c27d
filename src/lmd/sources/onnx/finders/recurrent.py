"""LSTM, GRU and RNN nodes whose weights are constant."""

from dataclasses import replace

from lmd.sources.onnx.file.model import Node
from lmd.sources.onnx.finders.quantised import of_gates
from lmd.sources.onnx.plan.expressions import Expression
from lmd.sources.onnx.plan.view import Found, View

__all__ = ["dynamic_lstm", "recurrent"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_BESIDE = {"LSTM": 7, "GRU": 6, "RNN": 6}
"""Number of inputs that torch's layers have a counterpart for; what comes behind are peepholes."""


def recurrent(node: Node, view: View) -> Found | None:
    """A layer with the usual activations; others hold their weights and are no operation that is known."""
    return _layer(node, view, node.op, [view.weight(node, place) for place in (1, 2)])


def dynamic_lstm(node: Node, view: View) -> Found | None:
    """Onnxruntime's LSTM of codes, whose inputs are rounded as it runs: it is run as it is."""
    parts = [[view.constants.get(node.takes(place)) for place in places] for places in ((1, 8, 9), (2, 10, 11))]
    weights = [of_gates(codes, scale, zero) if codes and scale else None for codes, scale, zero in parts]
    found = _layer(node, view, "LSTM", weights)
    return replace(found, inputs=(), outputs=()) if found else None


def _layer(node: Node, view: View, mode: str, weights: list[Expression | None]) -> Found | None:
    gates, (W, R), settings = _GATES[mode], weights, node.attributes
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
    peepholes = view.weight(node, 7) if mode == "LSTM" else None
    if peepholes is not None and peepholes.shape == (count, 3 * hidden):
        roles["P"] = peepholes
    chosen = {
        "mode": mode,
        "hidden_size": hidden,
        "input_size": W.shape[2],
        "direction": direction,
        "layout": settings.get("layout", 0),
        "reset_after": bool(settings.get("linear_before_reset", 0)) or mode != "GRU",
        "activation": _activations(node, mode)[0].lower() if mode == "RNN" else "",
    }
    if not _is_usual(node, mode):
        return Found("recurrent", roles, chosen)
    starts = tuple(node.takes(place) for place in range(4, _BESIDE[mode]))
    return Found("recurrent", roles, chosen, (node.inputs[0], *starts), node.outputs)


def _activations(node: Node, mode: str) -> list[str]:
    found = node.attributes.get("activations") or _USUAL[mode]
    return [str(name) for name in found]


def _is_usual(node: Node, mode: str) -> bool:
    settings, count = node.attributes, 2 if node.attributes.get("direction") == "bidirectional" else 1
    usual = _USUAL[mode]
    allowed = [usual * count, usual] if mode != "RNN" else [["Tanh"] * count, ["Tanh"], ["Relu"] * count, ["Relu"]]
    return (
        _activations(node, mode) in allowed
        and "clip" not in settings
        and not settings.get("input_forget")
        and not any(node.inputs[_BESIDE[mode] :])
        and not any(settings.get(name) for name in ("activation_alpha", "activation_beta"))
    )
