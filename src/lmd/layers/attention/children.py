"""The children of a module that are projections of an attention layer, known by their names and by being linear."""

import re
from collections.abc import Iterator

from torch import nn

from lmd.sources.skeleton import is_stored_transposed

__all__ = ["attends", "projections_below"]

_ROLES = {
    "query": r"q|query|queries",
    "key": r"k|key|keys",
    "value": r"v|value|values",
    "query_key_value": r"qkv|query_key_value",
    "key_value": r"kv|key_value",
}
_BEFORE = r"(?:to|w|linear|lin|fc|proj|in_proj|mat)?_?"
_BEHIND = r"_?(?:proj|lin|linear|projection|layer|fc|attn|head|net|dense|map)?s?"
_NAMES = {role: re.compile(rf"{_BEFORE}(?:{names}){_BEHIND}", re.IGNORECASE) for role, names in _ROLES.items()}
_OUTPUT = re.compile(
    r"(?:to_|w_?|linear_|lin_|fc_|proj_)?(?:o|out|output)(?:_?(?:proj|lin|linear|projection|layer|dense))?"
    r"|dense|c_proj|proj|unify_?heads",
    re.IGNORECASE,
)
_FUSED = ({"query", "key", "value"}, {"query", "key_value"}, {"query_key_value"})


def attends(module: nn.Module) -> bool:
    """Whether the children, or those of a child ``self`` beside an ``output``, are the projections of an attention."""
    found = set(projections_below(module))
    return any(wanted <= found for wanted in _FUSED)


def projections_below(module: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    """Role to the path below the module and the projection itself.

    Roles are ``query``, ``key``, ``value``, ``query_key_value``, ``key_value`` and ``output``.
    """
    found = _direct(module)
    return found if set(found) - {"output"} else dict(_inner(module))


def _direct(module: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    found: dict[str, tuple[str, nn.Module]] = {}
    for name, child in module.named_children():
        role, linear = _role(name, module), _linear(child)
        if role is not None and linear is not None:
            found.setdefault(role, (f"{name}{linear[0]}", linear[1]))
    return found


def _role(name: str, module: nn.Module) -> str | None:
    if name == "c_attn":
        # GPT-2's name of the fused projection, which holds no query where that one stands beside it
        return "key_value" if "q_attn" in module._modules else "query_key_value"
    for role, pattern in _NAMES.items():
        if pattern.fullmatch(name):
            return role
    return "output" if _OUTPUT.fullmatch(name) else None


def _inner(module: nn.Module) -> Iterator[tuple[str, tuple[str, nn.Module]]]:
    """BERT's way: the projections in a module beside another one with the dense layer of the output."""
    output = module._modules.get("output")
    for name in ("self", "attention"):
        inside = module._modules.get(name)
        if inside is None or output is None:
            continue
        below = _direct(inside)
        dense = output._modules.get("dense")
        if any(wanted <= set(below) for wanted in _FUSED) and dense is not None and _linear(dense):
            for role, (path, child) in below.items():
                yield role, (f"{name}.{path}", child)
            yield "output", ("output.dense", dense)
            return


def _linear(child: nn.Module) -> tuple[str, nn.Module] | None:
    """The linear map itself, or the first one of a sequence that begins with it."""
    if isinstance(child, nn.Sequential) and len(child):
        first = child[0]
        return (f".{next(iter(child._modules))}", first) if _is_linear(first) else None
    return ("", child) if _is_linear(child) else None


def _is_linear(child: nn.Module) -> bool:
    return isinstance(child, nn.Linear) or is_stored_transposed(child)
