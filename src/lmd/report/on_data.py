"""The network and its layers on the examples that were given, as HTML."""

from collections.abc import Mapping
from html import escape
from typing import Any

from lmd.report.numbers import number_text

__all__ = ["on_data_html"]

_KEYS = ("data_gain", "data_gain_share", "leading_energy", "gates_open", "dead_units", "duplicate_units", "pieces")
_FOLDS = ("near_folds",)


def on_data_html(document: Mapping[str, Any]) -> str:
    """A section with what was found on data; nothing without data."""
    data = document.get("provenance", {}).get("data")
    found = document.get("findings") or {}
    if not isinstance(data, Mapping) or not found:
        return ""
    glossary = document.get("glossary", {})
    notes = "".join(f"<p class=dim>{escape(str(note))}</p>" for note in data.get("notes", ()))
    shape = " \N{MULTIPLICATION SIGN} ".join(map(str, data.get("shape", ())))
    head = (
        f"{data.get('count', 0):,} examples of {escape(str(data.get('source')))}, each {escape(shape or 'one number')}"
    )
    whole = "".join(_row(key, found[key], glossary.get(key, {})) for key in found)
    return (
        f'<section id="on-data"><h2>On data</h2><p>{head}.</p>{notes}'
        "<table class=plain><thead><tr><th scope=col>of the network<th scope=col class=num>found"
        f"<th scope=col class=num>compared with<th scope=col>what it is</tr></thead><tbody>{whole}</tbody></table>"
        f"{_layers(document)}</section>"
    )


def _row(key: str, finding: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    why = finding.get("reason") or ""
    meaning = f"{escape(about.get('meaning', ''))}{f' <small>{escape(why)}</small>' if why else ''}"
    return (
        f"<tr><td>{escape(key.replace('_', ' '))}<td class=num>{_text(finding.get('value'))}"
        f"<td class=num>{_text(finding.get('baseline'))}<td>{meaning}</tr>"
    )


def _layers(document: Mapping[str, Any]) -> str:
    keys = (*_KEYS, *_FOLDS)
    heads = "".join(f"<th scope=col class=num>{escape(key.replace('_', ' '))}" for key in keys)
    rows = "".join(
        f'<tr><td><a href="#L{index}">{escape(layer["name"])}</a>{_cells(layer.get("findings", {}), keys)}</tr>'
        for index, layer in enumerate(document.get("layers", ()))
        if any(layer.get("findings", {}).get(key, {}).get("value") is not None for key in keys)
    )
    if not rows:
        return ""
    return (
        f"<div class=scroll><table class=plain><thead><tr><th scope=col>layer{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div><p class=caption>Of each layer; in italics the baseline.</p>"
    )


def _cells(findings: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return "".join(
        f"<td class=num>{_text(findings.get(key, {}).get('value'))} "
        f"<i>{_text(findings.get(key, {}).get('baseline'))}</i>"
        for key in keys
    )


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{len(value):,} values"
    return number_text(value) if isinstance(value, int | float) else "\N{EN DASH}"
