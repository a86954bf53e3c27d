"""One sentence about a layer, clause by clause from its findings; no clause without its number."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lmd.findings.words import CHANCE, TESTS, orderless, value_of, words_of

__all__ = ["CLAUSES", "sentence_of"]

Entry = Mapping[str, Any]
_TIMES = "\N{MULTIPLICATION SIGN}"
_FAR_FROM_START = 1.1
_COPYING = 4.5
"""Over the number of eigenvalues: three standard deviations of the score of a Gaussian map, each 1.5 over it."""


def sentence_of(entry: Entry) -> str:
    """What the layer does, by the rules of ``CLAUSES``; why nothing is known of it, where nothing is.

    Args:
        entry: a layer as the atlas has it: ``shape``, ``kind``, ``failed``, ``reason`` and ``findings`` by key.
    """
    if entry.get("failed") or not entry.get("method"):
        return f"Not decomposed: {entry.get('reason') or 'no reason was given'}."
    if value_of(entry, "frobenius_norm") == 0:
        return f"All its {entry['shape'][0]} x {entry['shape'][1]} weights are 0."
    said = [text for _, clause in CLAUSES if (text := clause(entry))]
    if not said:
        return "Too little is known of its singular values: ask for all of them."
    text = ", ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _keeps(entry: Entry) -> str:
    rank, random = value_of(entry, "rank_99"), value_of(entry, "rank_99", "baseline")
    if rank is None:
        return ""
    beside = "" if random is None else f"; {random} if random"
    return f"keeps {rank} of {_full_rank(entry)} directions (99 % of the energy{beside})"


def _stretches(entry: Entry) -> str:
    lower, upper = value_of(entry, "operator_norm_lower"), value_of(entry, "operator_norm_upper")
    if lower is not None and upper is not None:
        random = value_of(entry, "operator_norm_lower", "baseline")
        beside = "" if random is None else f" ({_short(random)}{_TIMES} if its kernel were random)"
        return f"stretches a whole input up to {_short(lower)}{_TIMES} and none beyond {_short(upper)}{_TIMES}{beside}"
    norm = value_of(entry, "spectral_norm")
    if norm is None:
        return ""
    what = " a patch" if entry["kind"] == "kernel_matrix" else ""
    return f"stretches{what} up to {_short(norm)}{_TIMES}{_if_random(entry, 'spectral_norm', _TIMES)}"


def _ignores(entry: Entry) -> str:
    part = value_of(entry, "ignored_dimension")
    if not part:
        return ""
    by_shape = part == entry["shape"][1] - _full_rank(entry)
    beside = " by its shape" if by_shape else _if_random(entry, "ignored_dimension")
    return f"ignores {_article(int(part))} {part}-dimensional part of its input{beside}"


def _against_chance(entry: Entry) -> str:
    words = words_of(entry)
    spikes, beyond = value_of(entry, "shuffled_spikes"), value_of(entry, "gaussian_spikes")
    least = min((p for key in TESTS if (p := value_of(entry, key)) is not None), default=1.0)
    if "random" in words:
        return f"is not told from a random matrix (smallest p {_probability(least)})"
    if "outlier-driven" in words:
        alone = value_of(entry, "outlier_spikes")
        return f"owes {alone} of its {beyond} directions beyond chance to a few huge weights"
    if orderless(entry):
        alone = value_of(entry, "outlier_spikes")
        return f"owes {alone} of its {beyond} directions beyond chance to its weights in any order, as to their mean"
    if "trained" in words:
        return f"has {spikes} direction{'s' if spikes != 1 else ''} that its weights in another order would not have"
    return "" if least >= CHANCE else f"differs from a random matrix (smallest p {_probability(least)})"


def _since_the_start(entry: Entry) -> str:
    beyond, p = value_of(entry, "initial_from"), value_of(entry, "initial_p")
    if beyond is not None and p is not None:
        if beyond == 0:
            return f"is indistinguishable from its initialisation (p = {p:.2g})"
        return f"is indistinguishable from its initialisation beyond direction {beyond}"
    ratio = value_of(entry, "scale_ratio")
    if ratio is None or 1 / _FAR_FROM_START < ratio < _FAR_FROM_START:
        return ""
    assumed = " (an assumption)" if "assumed" in entry["findings"]["initial_scale"]["reason"] else ""
    return f"has weights {_short(ratio)}{_TIMES} those it usually starts from{assumed}"


def _gains(entry: Entry) -> str:
    if "near-isometric" not in words_of(entry):
        return ""
    return f"stretches all directions alike (isometry distance {_short(value_of(entry, 'isometry_distance') or 0.0)})"


def _iterated(entry: Entry) -> str:
    radius = value_of(entry, "spectral_radius") if entry["kind"] == "gate" else None
    beside = _if_random(entry, "spectral_radius")
    return "" if radius is None else f"maps the state with a spectral radius of {_short(radius)}{beside}"


def _copies(entry: Entry) -> str:
    score = value_of(entry, "copying_score") if entry["kind"] == "value_output" else None
    if score is None:
        return ""
    chance = _COPYING / _full_rank(entry)
    said = f"copying score {score:+.2f}, random 0 ± {chance:.2f}"
    if abs(score) <= chance + (value_of(entry, "copying_score", "error") or 0.0):
        return f"neither copies nor inverts what it reads ({said})"
    return f"{'copies' if score > 0 else 'inverts'} what it reads ({said})"


def _on_data(entry: Entry) -> str:
    share, random = value_of(entry, "data_gain_share"), value_of(entry, "data_gain_share", "baseline")
    if share is None:
        return ""
    beside = "" if random is None else f" ({100 * random:.0f} % for noise)"
    return f"gives the data {100 * share:.0f} % of its largest gain{beside}"


def _dead(entry: Entry) -> str:
    dead = value_of(entry, "dead_units")
    return f"has {dead} unit{'s' if dead != 1 else ''} that no example opens" if dead else ""


CLAUSES: Sequence[tuple[str, Callable[[Entry], str]]] = (
    ("`rank_99` is known", _keeps),
    ("`spectral_norm` is known; of a convolution on whole inputs, both bounds of `operator_norm`", _stretches),
    ("`ignored_dimension` is not 0", _ignores),
    ("the word near-isometric", _gains),
    (
        f"the first that is said of the words random, outlier-driven and trained, or else a p-value below {CHANCE:g}",
        _against_chance,
    ),
    (f"`initial_from` is known, or `scale_ratio` is beyond {_FAR_FROM_START:g} or its inverse", _since_the_start),
    ("`spectral_radius` of a gate", _iterated),
    (f"`copying_score` of a value-output circuit; beyond {_COPYING:g} over its rank with a verb", _copies),
    ("`data_gain_share` is known", _on_data),
    ("`dead_units` is not 0", _dead),
)
"""When a clause is said, and what it says."""


def _if_random(entry: Entry, key: str, unit: str = "") -> str:
    random = value_of(entry, key, "baseline")
    return "" if random is None else f" ({_short(random)}{unit} if random)"


def _probability(p: float | int) -> str:
    return f"= {p:.2g}" if p > 0 else "< 1e-300"


def _article(number: int) -> str:
    """Before a number in words: eight, eleven and eighteen begin with a vowel, and so do their thousands."""
    first = f"{number:,}".partition(",")[0]
    return "an" if first.startswith("8") or first in ("11", "18") else "a"


def _full_rank(entry: Entry) -> int:
    return min(*entry["shape"], entry.get("inner") or entry["shape"][0])


def _short(number: float | int) -> str:
    return str(number) if isinstance(number, int) else format(number, ".3g")
