"""How far a training had come, as far as its files tell."""

from collections.abc import Mapping
from typing import Any

__all__ = ["ascending", "told_progress"]

_WORDS = {
    "epoch": "epoch",
    "epochs": "epoch",
    "iter": "iterations",
    "iteration": "iterations",
    "iterations": "iterations",
    "step": "iterations",
    "global_step": "iterations",
    "global_steps": "iterations",
}
_ALSO = ("loss", "best_loss", "val_loss", "accuracy", "best_prec1", "best_acc", "err", "psnr")


def told_progress(facts: Mapping[str, Any]) -> dict[str, float]:
    """Epoch, iterations and scores among what a source tells.

    >>> told_progress({"recorded": {"epoch": 109, "err": 0.5}, "format": "torch"})
    {'epoch': 109, 'err': 0.5}
    """
    recorded = facts.get("recorded")
    told = {**(recorded if isinstance(recorded, Mapping) else {}), **facts}
    found: dict[str, float] = {}
    for name, value in told.items():
        word = str(name).lower()
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if word in _WORDS:
            found.setdefault(_WORDS[word], value)
        elif word in _ALSO:
            found[word] = value
    return found


def ascending(told: list[dict[str, float]]) -> bool | None:
    """Whether the models come in the order of their training; None where the files do not tell."""
    for word in ("iterations", "epoch"):
        numbers = [one[word] for one in told if word in one]
        if len(numbers) == len(told):
            return numbers == sorted(numbers)
    return None
