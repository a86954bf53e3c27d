"""The docs table of what is decomposed, from the registries and the examples: ``python -m tests.kinds_table``."""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file

from lmd.activations.input_sizes import sized
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import Kind, kind_of, registered, remaining
from lmd.layers.walk import walk
from lmd.sources.network import Network
from lmd.sources.open_network import open_network
from lmd.sources.torch_module import from_module
from tests.examples import KINDS

PAGE = Path(__file__).resolve().parents[1] / "docs/layer-kinds.md"
START, END = "<!-- table of kinds: python -m tests.kinds_table -->", "<!-- end of the table -->"
_HEAD = (
    "| layers | what stands for them | kinds | rows of an example, `(out, in)` |",
    "|---|---|---|---|",
)
_MOST_ROWS = 4


@dataclass
class Shown:
    """What the examples of one registered function gave."""

    kinds: dict[str, None] = field(default_factory=dict)
    rows: list[LayerMatrix] = field(default_factory=list)


def table() -> str:
    """One line for each registered function, in the order of the files."""
    functions = registered()
    shown = {function: Shown() for function in functions}
    for network in _networks():
        for function, rows in _given(network):
            shown[function].kinds.update(dict.fromkeys(row.kind for row in rows))
            shown[function].rows = shown[function].rows or rows
    lines = (_line(function, functions[function], shown[function]) for function in sorted(functions, key=_place))
    return "\n".join((*_HEAD, *lines))


def _place(function: Kind) -> tuple[str, int]:
    return function.__module__, inspect.getsourcelines(function)[1]


def _networks() -> Iterator[Network]:
    for example in KINDS:
        yield sized(from_module(example.module), None, example.input_shape)
    with TemporaryDirectory() as folder:
        factors = {"fc.lora_A.weight": torch.ones(2, 6), "fc.lora_B.weight": torch.ones(4, 2)}
        save_file(factors, f"{folder}/adapter_model.safetensors")
        yield open_network(folder)


def _given(network: Network) -> Iterator[tuple[Kind, list[LayerMatrix]]]:
    found = {row.name: row for row in walk(network).layers}
    for place, module in network.skeleton.named_modules():
        path = network.names.get(place, place)
        function = kind_of(module)
        if function in registered() and (rows := _known(function(module, path, network), found)):
            yield function, rows
        if left := _known(remaining(module, path, network), found):
            yield next(f for f, what in registered().items() if what == "what no other kind took"), left


def _known(rows: Iterable[LayerMatrix], found: dict[str, LayerMatrix]) -> list[LayerMatrix]:
    """Those of the rows that the walk took; it takes each once."""
    return [found.pop(row.name) for row in rows if row.name in found]


def _line(function: Kind, takes: str, shown: Shown) -> str:
    meaning = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    kinds = " ".join(f"`{kind}`" for kind in shown.kinds)
    rows = ", ".join(f"`{row.name}` {row.shape}" for row in shown.rows[:_MOST_ROWS])
    more = f" and {len(shown.rows) - _MOST_ROWS} more" if len(shown.rows) > _MOST_ROWS else ""
    return f"| {_escaped(takes)} | {_escaped(meaning)} | {kinds} | {rows}{more} |"


def _escaped(text: str) -> str:
    return re.sub(r"`+", "`", text).replace("|", "\\|")


def page_with(page: str, new: str) -> str:
    """The page with the table between the marks."""
    before, rest = page.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{new}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")
