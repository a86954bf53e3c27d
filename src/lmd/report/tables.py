"""Coverage, provenance, overview and glossary as HTML; every text that comes from outside is escaped here."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from lmd.report.numbers import count, measured_text, number_text, percent

__all__ = ["coverage_html", "glossary_html", "overview_html", "provenance_html", "provenance_line", "symbol_html"]

_MEANINGS = {
    "decomposed": "inside a decomposed matrix",
    "vector": "vectors: biases, scales",
    "buffer": "buffers: not trained",
    "tied": "tied: counted once, elsewhere",
    "optimiser": "optimiser state: not weights",
    "unsupported": "no layer kind claims it",
    "failed": "failed",
}
_SUBSCRIPT = re.compile(r"_(?:\{([^}]*)\}|([A-Za-z0-9]+|[^\w\s{]))")
_COLUMNS = ("spectral_norm", "stable_rank", "rank_90", "spikes", "stable_directions")


def symbol_html(symbol: str) -> str:
    """A symbol with what follows an underscore set low.

    >>> symbol_html("s_1")
    's<sub>1</sub>'
    """
    return _SUBSCRIPT.sub(lambda m: f"<sub>{m[1] or m[2]}</sub>", escape(symbol))


def coverage_html(coverage: Mapping[str, Any]) -> str:
    """A bar of parameters by status, and every tensor that is not decomposed, by reason."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for tensor in coverage.get("tensors", ()):
        reason = "" if tensor.get("status") == "decomposed" else tensor.get("reason") or "no reason was given"
        groups[tensor.get("status", "unsupported"), reason].append(tensor)
    rest = {key: tensors for key, tensors in groups.items() if key[0] != "decomposed"}
    if not rest:
        return _bar(groups)
    number = sum(map(len, rest.values()))
    rows = "".join(_group(status, reason, rest[status, reason]) for status, reason in sorted(rest))
    return (
        f"{_bar(groups)}<details class=more><summary>{count(number, 'tensor')} not decomposed, and why</summary>"
        "<div class=scroll><table class=plain><thead><tr><th scope=col>status<th scope=col class=why>why"
        f"<th scope=col class=num>tensors<th scope=col class=num>parameters<th scope=col>names</tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _bar(groups: Mapping[tuple[str, str], list[Mapping[str, Any]]]) -> str:
    sizes: dict[str, int] = dict.fromkeys(_MEANINGS, 0)
    for (status, _), tensors in groups.items():
        sizes[status] = sizes.get(status, 0) + sum(tensor.get("parameters") or 0 for tensor in tensors)
    counted = {status: size for status, size in sizes.items() if size and status not in ("buffer", "tied", "optimiser")}
    whole = sum(counted.values())
    parts = "".join(f'<i class="s-{escape(s)}" style="flex-grow:{n}"></i>' for s, n in counted.items())
    legend = "".join(
        f'<li><b class="s-{escape(s)}"></b>{escape(_MEANINGS.get(s, s))} '
        f"<span class=dim>{number_text(n)}{f' ({percent(n / whole)})' if s in counted else ''}</span></li>"
        for s, n in sizes.items()
        if n
    )
    return (
        f'<div class=bar aria-hidden=true>{parts}</div><ul class=legend aria-label="parameters by status">{legend}</ul>'
    )


def _group(status: str, reason: str, tensors: list[Mapping[str, Any]]) -> str:
    names = [f"<code>{escape(t['name'])}</code> <span class=dim>{_shape(t.get('shape'))}</span>" for t in tensors]
    listed = ", ".join(names)
    if len(names) > 4:
        listed = f"{names[0]} <details><summary>and {len(names) - 1:,} more</summary>{', '.join(names[1:])}</details>"
    size = sum(tensor.get("parameters") or 0 for tensor in tensors)
    return (
        f'<tr><td><b class="s-{escape(status)}"></b>{escape(status)}<td>{escape(reason)}<td class=num>{len(names):,}'
        f"<td class=num>{size:,}<td>{listed}</tr>"
    )


def _shape(shape: Iterable[int] | None) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape or ())) or "scalar"


def provenance_line(document: Mapping[str, Any]) -> str:
    """One line: which weights, which versions, when."""
    network, made = document.get("network", {}), document.get("provenance", {})
    parts = [network.get("dtype"), network.get("sha256") and f"sha256 {network['sha256'][:12]}…"]
    parts += [f"{name} {made[name]}" for name in ("lmd", "torch") if made.get(name)]
    parts += [f"seed {made['seed']}"] * (made.get("seed") is not None)
    parts += [
        str(made.get("started") or "")[:10],
        made.get("seconds") is not None and f"{number_text(made['seconds'])} s",
    ]
    return " · ".join(escape(str(part)) for part in parts if part)


def provenance_html(document: Mapping[str, Any]) -> str:
    """Everything the document says of where it comes from."""
    said = {name: document[name] for name in ("network", "provenance", "facts", "training") if document.get(name)}
    said["provenance"] = {**said.get("provenance", {}), "schema version": document.get("schema_version")}
    blocks = "".join(
        f"<section><h3>{escape(name)}</h3><dl>{''.join(_pairs(values, ''))}</dl></section>"
        for name, values in said.items()
    )
    return f"<details class=more><summary>Where this comes from</summary><div class=columns>{blocks}</div></details>"


def _pairs(values: Mapping[str, Any], prefix: str) -> Iterable[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{prefix}{name}.")
        else:
            text = number_text(value) if isinstance(value, float) else str(value)
            yield f"<dt>{escape(prefix + str(name))}</dt><dd>{escape(text)}</dd>"


def overview_html(document: Mapping[str, Any]) -> str:
    """One row per layer; the browser sorts and filters it."""
    glossary = document.get("glossary", {})
    heads = "".join(_column(key, glossary.get(key, {})) for key in _COLUMNS)
    rows = "".join(_row(index, layer) for index, layer in enumerate(document.get("layers", ())))
    return (
        "<table id=overview class=sortable><thead><tr><th scope=col class=num aria-sort=ascending><button>#</button>"
        "<th scope=col><button>layer</button><th scope=col><button>kind</button>"
        "<th scope=col class=num><button>out × in</button>"
        f"{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _column(key: str, entry: Mapping[str, Any]) -> str:
    unit = entry.get("unit") or "1"
    return (
        f'<th scope=col class=num title="{escape(entry.get("meaning", ""))}"><button>{escape(key.replace("_", " "))}'
        f"</button><small>{symbol_html(entry.get('symbol', ''))} [{escape(unit)}] <i>vs. random</i></small>"
    )


def _row(index: int, layer: Mapping[str, Any]) -> str:
    out, inputs = (*layer.get("shape", ()), 0, 0)[:2]
    part = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} " if layer.get("view_of") else ""
    name = f'{part}<a href="#L{index}">{escape(layer["name"])}</a>'
    start = (
        f"<tr><td>{index + 1}<td>{name}<td>{escape(layer.get('kind', '').replace('_', ' '))}<td>{out:,} × {inputs:,}"
    )
    if layer.get("failed"):
        return f"{start}<td class=bad colspan={len(_COLUMNS)}>failed: {escape(layer.get('reason', ''))}</tr>"
    return start + "".join(_cell(layer.get("findings", {}).get(key, {})) for key in _COLUMNS) + "</tr>"


def _cell(finding: Mapping[str, Any]) -> str:
    value, baseline = finding.get("value"), finding.get("baseline")
    if not isinstance(value, (int, float)):
        return f'<td title="{escape(finding.get("reason") or "not measured")}">\N{EN DASH}'
    beside = f"<i>{number_text(baseline)}</i>" if isinstance(baseline, (int, float)) else "<i>\N{EN DASH}</i>"
    return f"<td>{measured_text(dict(finding))} {beside}"


def glossary_html(keys: Iterable[str], glossary: Mapping[str, Mapping[str, Any]]) -> str:
    """What each finding is, in a line, and who defined it."""
    return "".join(
        f'<div><dt><span id="y-{escape(key)}">{symbol_html(entry.get("symbol", ""))}</span> <code>{escape(key)}</code> '
        f"<span class=dim>[{escape(entry.get('unit') or '1')}]</span></dt><dd>{escape(entry.get('meaning', ''))}"
        f"<small>{escape(entry.get('source', ''))}</small></dd></div>"
        for key, entry in ((key, glossary.get(key, {})) for key in keys)
    )
