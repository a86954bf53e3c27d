"""How well the network does on the examples."""

from dataclasses import dataclass
from math import sqrt

from lmd.activations.observing.whole import WholeNetwork
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.quantity import Measured, quantity

__all__ = ["Performance", "performance"]

_NO_CLASSES = "the targets are numbers, not classes"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Performance(Finding):
    """Accuracy and loss."""

    accuracy: Measured = quantity(
        "P(argmax f(x) = t)",
        unit="1",
        meaning="Share of examples whose highest output is the target's",
        source="Hastie, Tibshirani & Friedman 2009, 2.4",
    )
    loss: Measured = quantity(
        "E ℓ(f(x), t)",
        unit="nat or squared unit of the output",
        meaning="Mean cross-entropy (classes) or mean squared error (numbers)",
        source="Hastie, Tibshirani & Friedman 2009, 2.4",
    )


@analysis
def performance(whole: WholeNetwork) -> Performance:
    """Beside the best constant answer: the commonest class, the classes' shares, or the mean."""
    if whole.loss is None:
        raise InapplicableError("no targets were given")
    loss = Measured(whole.loss, whole.loss_baseline, None, "estimate")
    if not whole.answers:
        return Performance(layer="", accuracy=Measured(None, reason=_NO_CLASSES), loss=loss)
    share = whole.right / whole.answers
    # binomial; the errors of tokens of one example are not independent, those of examples are
    error = sqrt(share * (1 - share) / max(1, whole.examples))
    return Performance(layer="", accuracy=Measured(share, whole.commonest, error, "estimate"), loss=loss)
