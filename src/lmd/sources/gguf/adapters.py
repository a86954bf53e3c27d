"""Adapters in GGUF files, which do not tell by how many heads the rows of queries and keys were sorted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lmd.sources.gguf.architectures.changes import Reordered
from lmd.sources.gguf.architectures.row_orders import RowOrder
from lmd.sources.network import Network

__all__ = ["sorted_for"]

_LEFT, _BACK = "left in ggml's order", "sorted back"
_NAMED_BACK = "that of Hugging Face: sorted back by the number of heads of the base"


def sorted_for(base: Network, adapter: Network) -> Network:
    """An adapter whose rows of queries and keys stand in the order of the base that it is compared with.

    Any other network, and one whose base tells no heads, stays as it is.
    """
    names, (heads, groups) = adapter.facts.get(_LEFT), _heads(base)
    if not isinstance(names, list):
        return adapter
    loaders, left = dict(adapter.loaders), []
    for name in names:
        loader = loaders[name]
        order = RowOrder("rotated", loader.shape[0], heads if ".q_proj." in name else groups)
        if order.fits:
            loaders[name] = Reordered(loader, order, 0, order.rows)
        else:
            left.append(name)
    done = [name for name in names if name not in left]
    facts = {key: value for key, value in adapter.facts.items() if key != _LEFT or left}
    facts |= {_LEFT: left} if left else {}
    facts |= {_BACK: done, "order of query and key rows": _NAMED_BACK} if done else {}
    return replace(adapter, loaders=loaders, facts=facts)


def _heads(base: Network) -> tuple[int, int]:
    """Of the queries and of the keys; 0 where nothing tells."""
    told: Any = getattr(base.skeleton, "config", None)
    if told is None:
        config = base.facts.get("config")
        told = config if isinstance(config, Mapping) else {}
    heads, groups = (_count(told, f"num_{word}_heads") for word in ("attention", "key_value"))
    return heads, groups or heads


def _count(told: Any, word: str) -> int:
    value = told.get(word) if isinstance(told, Mapping) else getattr(told, word, None)
    return value if isinstance(value, int) else 0
