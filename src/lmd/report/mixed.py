"""Blocks of directions that rounding mixes, in words."""

from collections.abc import Sequence

__all__ = ["mixed_text", "span_text"]

Spans = Sequence[Sequence[int]]


def span_text(span: Sequence[int]) -> str:
    """The directions of one block.

    >>> span_text((5, 8)), span_text((3, 3))
    ('5\N{EN DASH}8', '3')
    """
    first, last = span
    return str(first) if first == last else f"{first}\N{EN DASH}{last}"


def mixed_text(spans: Spans | None) -> str:
    """What rounding leaves of single directions; nothing where it leaves all, or was not asked about.

    >>> mixed_text([(5, 8), (11, 32)])
    'Directions 5\N{EN DASH}8 and 11\N{EN DASH}32 are mixed by rounding: of each block only the space means something.'
    """
    blocks = [span_text(span) for span in spans or () if span[0] != span[1]]
    alone = [span_text(span) for span in spans or () if span[0] == span[1]]
    said = []
    if blocks:
        each = "of the block" if len(blocks) == 1 else "of each block"
        said.append(f"Directions {_listed(blocks)} are mixed by rounding: {each} only the space means something.")
    if alone:
        verb = "Direction {} is" if len(alone) == 1 else "Directions {} are"
        said.append(f"{verb.format(_listed(alone))} turned by rounding by more than 5 degrees.")
    return " ".join(said)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
