"""What a document says in a few sentences; every one is computed from it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lmd.report.numbers import count, number_text, percent

__all__ = ["Headline", "headlines", "lead"]

Headline = tuple[str, str, str]


def lead(document: Mapping[str, Any]) -> str:
    """The first line of the page: coverage."""
    coverage = document.get("coverage", {})
    parameters = coverage.get("parameters", 0)
    if not parameters:
        return "No trainable parameter was found, so there is nothing to decompose."
    accounted = coverage.get("accounted")
    rest = (
        "the rest is listed below with its reason"
        if accounted == 1
        else f"only {percent(accounted)} is accounted for: what is missing below has no reason"
    )
    if coverage.get("decomposed") == 1:
        return f"All {count(parameters, 'parameter')} lie inside a decomposed matrix."
    share = percent(coverage.get("decomposed"))
    return f"{share} of {count(parameters, 'parameter')} lie inside a decomposed matrix; {rest}."


def headlines(document: Mapping[str, Any]) -> list[Headline]:
    """Number, what it is, and what to compare it with."""
    layers = [layer for layer in document.get("layers", ()) if not layer.get("failed")]
    failed = len(document.get("layers", ())) - len(layers)
    found = [
        _layers(layers, failed),
        _random(layers),
        _spikes(layers),
        _gain(layers),
        _concentration(layers),
        _accuracy(document),
    ]
    return [headline for headline in found if headline]


def _layers(layers: Sequence[Mapping[str, Any]], failed: int) -> Headline:
    # what had no counterpart in the base, and what has no entries, was not decomposed
    layers = [layer for layer in layers if layer.get("method", "") is not None]
    views = sum(1 for layer in layers if layer.get("view_of"))
    kinds = Counter(str(layer.get("kind", "")).replace("_", " ") for layer in layers)
    parts = [", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common(4)) + ", …" * (len(kinds) > 4)]
    parts += [f"{count(views, 'view')} of a part of a layer among them"] * bool(views)
    parts += [f"{count(failed, 'layer')} failed"] * bool(failed)
    return (
        number_text(len(layers)),
        "matrix decomposed" if len(layers) == 1 else "matrices decomposed",
        "; ".join(part for part in parts if part),
    )


def _measured(layers: Iterable[Mapping[str, Any]], key: str) -> list[tuple[Mapping[str, Any], float, float | None]]:
    """Layer, value and baseline where there is a number; views are left out, their layer counts."""
    rows = []
    for layer in layers:
        finding = layer.get("findings", {}).get(key, {})
        value, baseline = finding.get("value"), finding.get("baseline")
        if isinstance(value, (int, float)) and not layer.get("view_of") and layer.get("kind") != "diagonal":
            rows.append((layer, value, baseline if isinstance(baseline, (int, float)) else None))
    return rows


def _called(layer: Mapping[str, Any]) -> str:
    """Torch calls the parts of a sequence by number alone."""
    return f"layer {layer['name']}" if str(layer["name"]).isdecimal() else str(layer["name"])


def _random(layers: Sequence[Mapping[str, Any]]) -> Headline | None:
    """How many layers no test tells from chance; nothing where none was tested."""
    tested = [
        layer
        for layer in layers
        if not layer.get("view_of") and layer.get("findings", {}).get("shuffled_p", {}).get("value") is not None
    ]
    if not tested or "words" not in tested[0]:
        return None
    random = [_called(layer) for layer in tested if "random" in layer["words"]]
    label = "layer is" if len(tested) == 1 else "layers are"
    named = ", ".join(random[:3]) + ", …" * (len(random) > 3)
    return f"{len(random):,} of {len(tested):,}", f"{label} not told from a random matrix by any of six tests", named


def _spikes(layers: Sequence[Mapping[str, Any]]) -> Headline | None:
    rows = _measured(layers, "spikes")
    if not rows:
        return None
    above = sum(1 for _, value, _ in rows if value > 0)
    layer, most, _ = max(rows, key=lambda row: row[1])
    label = "layer has" if len(rows) == 1 else "layers have"
    label += " singular values beyond the edge where noise alone would end"
    return f"{above:,} of {len(rows):,}", label, f"most in {_called(layer)}: {number_text(most)}" if most else ""


def _gain(layers: Sequence[Mapping[str, Any]]) -> Headline | None:
    operators = _operators(layers)
    # where the operator on whole inputs is known, the stretching of one patch is not the layer's
    whole = [(layer, operators[layer["name"]]) for layer in layers if layer.get("name") in operators]
    patches = [row for row in _measured(layers, "spectral_norm") if row[0].get("name") not in operators]
    rows = [(layer, value, baseline) for layer, value, baseline in patches if baseline]
    rows += [(layer, value, baseline) for layer, (value, _, baseline) in whole if baseline]
    if not rows:
        return None
    layer, value, baseline = max(rows, key=lambda row: row[1] / row[2])
    times, name = "\N{MULTIPLICATION SIGN}", _called(layer)
    if layer.get("name") in operators:
        upper = number_text(operators[layer["name"]][1])
        beside = _beside(f"{number_text(baseline)}{times}", "highest").replace("matrix", "kernel")
        label = f"is how far {name} stretches a whole input, and no input more than {upper}{times}"
        return f"{number_text(value)}{times}", label, beside
    what = "a patch of its input" if layer.get("kind") == "kernel_matrix" else "an input"
    beside = _beside(f"{number_text(baseline)}{times}", "highest")
    return f"{number_text(value)}{times}", f"is the most that {name} stretches {what}", beside


def _operators(layers: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """Lower bound, upper bound and baseline of the norm of each convolution's operator, by the name of its kernel."""
    found: dict[str, tuple[float, float, float]] = {}
    for layer in layers:
        findings = layer.get("findings", {})
        lower, upper = (findings.get(f"operator_norm_{side}", {}) for side in ("lower", "upper"))
        numbers = (lower.get("value"), upper.get("value"), lower.get("baseline"))
        if layer.get("view_of") and all(isinstance(number, (int, float)) for number in numbers):
            # of several sizes the largest counts
            best = found.get(layer["view_of"], numbers)
            found[layer["view_of"]] = max(best, numbers)
    return found


def _concentration(layers: Sequence[Mapping[str, Any]]) -> Headline | None:
    found = _extreme(layers, "stable_rank", min)
    if found is None:
        return None
    name, value, baseline = found
    return value, f"is the stable rank of {name}: how many directions share its energy", _beside(baseline, "lowest")


def _beside(baseline: str, side: str) -> str:
    return f"a random matrix like it: {baseline}; of all layers the {side} for its baseline"


def _extreme(layers: Sequence[Mapping[str, Any]], key: str, choose: Callable[..., Any]) -> tuple[str, str, str] | None:
    """Name, value and baseline of the layer that differs most from its baseline in one finding."""
    rows = [(layer, value, baseline) for layer, value, baseline in _measured(layers, key) if baseline]
    if not rows:
        return None
    layer, value, baseline = choose(rows, key=lambda row: row[1] / row[2])
    return _called(layer), number_text(value), number_text(baseline)


def _accuracy(document: Mapping[str, Any]) -> Headline | None:
    training = document.get("training") or {}
    held_out, seen = training.get("accuracy_test"), training.get("accuracy_train")
    # the given examples may be those that it was trained on
    if isinstance(held_out, (int, float)):
        compared = f"{percent(seen)} of those it was trained on" if isinstance(seen, (int, float)) else ""
        return percent(held_out), "of unseen examples classified rightly", compared
    found = (document.get("findings") or {}).get("accuracy", {})
    if not isinstance(found.get("value"), (int, float)):
        return None
    beside = f"the commonest class alone: {percent(found['baseline'])}"
    return percent(found["value"]), "of the given examples classified rightly", beside
