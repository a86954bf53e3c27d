"""What the circuits of a head leave out, by what else its attention module holds."""

import re

from torch import nn

from lmd.layers.attention.children import Found
from lmd.layers.attention.layouts import Layout
from lmd.layers.registry import join
from lmd.sources.network import Network

__all__ = ["omissions"]

_TABLE = re.compile(r"(?:shared_)?(?:rel(?:ative)?_)?pos(?:ition)?_bias(?:_table)?")
_GATES = ("g_proj", "gate_proj", "to_gates", "linear_g", "output_gate", "g")


def omissions(layout: Layout, found: Found, path: str, network: Network) -> dict[str, str]:
    """Circuit to what is to be said of it in every head."""
    own = _trained(found.owner)
    compared, written = ([layout.note, layout.about.get(name, "")] for name in ("query_key", "value_output"))
    # T5: the first layer holds the table, all layers of self-attention add it
    adds = "has_relative_attention_bias" in vars(found.owner) and "EncDec" not in path
    if adds and "relative_attention_bias" not in own:
        compared.append("what is added by position, from the table of the first layer, is left out")
    if beside := _tables_beside(path, network):
        compared.append(f"{', '.join(beside)} beside the layer left out")
    if any(name in own for name in _GATES):
        written.append("before the gate")
    if "query_key" in found.roles and layout.roles["query"].name == layout.roles["key"].name:
        compared.append("query and key are one projection; if keys are divided by their sizes, that is left out")
    behind = [type(module).__name__ for _, module in found.roles["output"].behind] if "output" in found.roles else []
    if behind and layout.roles["output"].used is None:
        written.append(f"before {', '.join(behind)}")
    return {"query_key": "; ".join(filter(None, compared)), "value_output": "; ".join(filter(None, written))}


def _trained(module: nn.Module) -> set[str]:
    """Names of a module's parameters and of the children that have some."""
    children = {name for name, child in module.named_children() if any(True for _ in child.parameters())}
    return children | {name for name, parameter in module._parameters.items() if parameter is not None}


def _tables_beside(path: str, network: Network) -> list[str]:
    """What is added by position and stands beside the attention or further up: as in BEiT."""
    found, place, around = [], "", [("", network.skeleton)]
    for part in path.split(".")[:-1] if path else ():
        inner = around[-1][1]._modules.get(part)
        if inner is None:
            break
        place = join(place, part)
        around.append((place, inner))
    for where, module in around:
        found += [join(where, name) for name in sorted(_trained(module)) if _TABLE.fullmatch(name)]
    return found
