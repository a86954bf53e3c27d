"""How many of a layer's gates the data open, and which units they never open."""

from dataclasses import dataclass

from lmd.activations.observing.gates import Gates
from lmd.findings.analysis import Finding, analysis
from lmd.findings.quantity import Measured, quantity

__all__ = ["OpenGates", "open_gates"]

_HALF_OPEN = ("relu", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus")
_NO_CHANCE = "a gate with two sides has no share that symmetry would give"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenGates(Finding):
    """Open, dead and always open gates behind a layer."""

    gates_open: Measured = quantity(
        "P(φ′(z) > ½)",
        unit="1",
        meaning="Share of gates that are open: of ReLU inputs above 0, else slopes above half of the largest",
        source="Montúfar et al. 2014; Hanin & Rolnick 2019",
    )
    unit_gates: Measured = quantity(
        "P(φ′(z_i) > ½)",
        unit="1",
        meaning="The same for each unit, in order",
        source="Montúfar et al. 2014",
    )
    dead_units: Measured = quantity(
        "#{i: never open}",
        unit="units",
        meaning="Units whose gate no example opens anywhere",
        source="Lu et al. 2020",
    )
    always_open_units: Measured = quantity(
        "#{i: never closed}",
        unit="units",
        meaning="Units whose gate no example closes anywhere: they are linear on these data",
        source="Serra et al. 2020",
    )
    unseen_share: Measured = quantity(
        "3/n",
        unit="1",
        meaning="What never happened on n examples happens on at most this share of such examples, at 95 % confidence",
        source="Hanley & Lippman-Hand 1983",
    )


@analysis
def open_gates(gates: Gates) -> OpenGates:
    """Counts over all examples and positions; symmetry would open half of the gates of ReLU and its kin."""
    n = gates.examples
    share = gates.open_share.mean().item()
    chance = 0.5 if gates.function in _HALF_OPEN else None
    why = "" if chance else f"{_NO_CHANCE} ({gates.function})"
    rounding = n * 2.0**-52
    return OpenGates(
        layer=gates.layer,
        gates_open=Measured(share, chance, rounding, reason=why),
        unit_gates=Measured(
            tuple(gates.open_share.tolist()), None, rounding, reason="gates_open has the baseline of each of them"
        ),
        dead_units=Measured(int((gates.opened == 0).sum()), 0, 0.0),
        always_open_units=Measured(int((gates.closed == 0).sum()), 0, 0.0),
        unseen_share=Measured(min(1.0, 3 / n), None, None, "upper", "a bound by counting alone"),
    )
