"""The heads of a network's attention layers as a grid, layer by head, one for each circuit."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["CIRCUITS", "asked", "head_grids"]

CIRCUITS = {
    "query_key": "Query and key: what a head looks for",
    "value_output": "Value and output: what a head passes on",
}
_PART = re.compile(r"(?P<place>.*?)\.?(?:query_key|value_output)\.(?P<head>\d+)")


def head_grids(layers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where each head of each attention layer stands in the document.

    Args:
        layers: the document's rows.

    Returns:
        Per circuit that occurs: its key and title, the places of the attention layers in the order of the document, and
        for each place the number of the row of each head; None where a head has no row.
    """
    found: dict[str, dict[str, dict[int, int]]] = {}
    for index, layer in enumerate(layers):
        part = _PART.fullmatch(layer["name"])
        if part and layer.get("kind") in CIRCUITS:
            places = found.setdefault(layer["kind"], {})
            places.setdefault(part["place"], {})[int(part["head"])] = index
    return [
        {"circuit": circuit, "title": CIRCUITS[circuit], "places": list(places), "rows": [*map(_row, places.values())]}
        for circuit, places in sorted(found.items())
    ]


def asked(options: Mapping[str, Any]) -> str:
    """What of the options changes the circuits, in words; '' if nothing does."""
    distance = options.get("distance") or 0
    words = [f"rotary positions at distance {distance}"] if distance else []
    folded = [word for key, word in (("fold_bias", "biases"), ("fold_norm", "norms")) if options.get(key)]
    return ", ".join([*words, *([f"{' and '.join(folded)} folded in"] if folded else [])])


def _row(heads: Mapping[int, int]) -> list[int | None]:
    return [heads.get(head) for head in range(max(heads) + 1)]
