"""The children of a module that are projections of an attention layer, known by their names and by being linear."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from lmd.layers.registry import own_shapes
from lmd.sources.skeleton import is_stored_transposed

__all__ = [
    "Child",
    "Found",
    "attends",
    "global_roles",
    "inputs_of",
    "outputs_beside",
    "outputs_of",
    "projections_of",
]

_ROLES = {
    "query": r"q|query|queries",
    "key": r"k|key|keys",
    "value": r"v|value|values",
    "query_key": r"qk|query_key|shared_qk",
    "query_key_value": r"qkv|kqv|query_key_value|queries_keys_values",
    "key_value": r"kv|key_value|keys_values",
}
_BEFORE = r"(?:to|w|linear|lin|fc|proj|in_proj|mat)?_?"
_BEHIND = r"_?(?:proj|lin|linear|projection|layer|fc|attn|head|net|dense|map|conv(?:[123]d)?)?s?"
_NAMES = {role: re.compile(rf"{_BEFORE}(?:{names}){_BEHIND}", re.IGNORECASE) for role, names in _ROLES.items()}
_PACKED = ("W_pack", "att_proj")
"""Names of a fused projection that do not say what it holds."""
_OUTPUT = re.compile(
    r"(?:to_|w_?|linear_|lin_|fc_|proj_)?(?:o|out|output)(?:_?(?:proj|lin|linear|projection|layer|dense|net|conv))?"
    r"|conv_out|attention_output|dense|c_proj|proj|projection|linear_proj|post_proj|unify_?heads",
    re.IGNORECASE,
)
_FUSED = ({"query", "key", "value"}, {"query", "key_value"}, {"query_key", "value"}, {"query_key_value"})
_ONE_FURTHER_DOWN = {
    "self": ("output.dense",),
    "attention": ("output.dense", "post_attention.conv1d"),
    "self_attention": ("output.dense",),
}
"""Names of a child that holds the projections, and where the output may be beside it: as in BERT."""
_HARMLESS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A linear map below an attention module.

    Attributes:
        path: below the module.
        module: the linear map.
        before: what its input goes through first, inside the same child.
        behind: what its output goes through, inside the same child, with paths below the module.
    """

    path: str
    module: nn.Module
    before: tuple[nn.Module, ...] = ()
    behind: tuple[tuple[str, nn.Module], ...] = ()

    def below(self, path: str) -> "Child":
        """The same, seen from further up."""
        behind = tuple((f"{path}.{name}", module) for name, module in self.behind)
        return replace(self, path=f"{path}.{self.path}", behind=behind)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The projections of an attention module.

    Attributes:
        roles: ``query``, ``key``, ``value``, ``query_key``, ``query_key_value``, ``key_value`` and ``output``.
        owner: the module that holds what reads, which knows the number of heads best.
        inside: its path below the attention module, '' if it is the module itself.
    """

    roles: dict[str, Child]
    owner: nn.Module
    inside: str = ""


def attends(module: nn.Module) -> bool:
    """Whether the children, or those of a child ``self`` beside an ``output``, are the projections of an attention."""
    return projections_of(module) is not None


def projections_of(module: nn.Module) -> Found | None:
    """The projections below a module; None if it is no attention layer as far as names and sizes tell."""
    roles = _direct(module)
    if _complete(roles):
        return Found(roles, module)
    return _listed(module) or _inner(module)


def global_roles(found: Found) -> dict[str, Child]:
    """Longformer's second set of projections, for the tokens that see all others."""
    below = {}
    for name, child in found.owner.named_children():
        role = _role(name.removesuffix("_global"), found.owner)
        linear = _linear(child, name)
        if name.endswith("_global") and role is not None and linear is not None:
            below[role] = linear.below(found.inside) if found.inside else linear
    return below if {"query", "key", "value"} <= set(below) else {}


def outputs_of(module: nn.Module) -> int | None:
    """Number of outputs of a linear map, as its own attributes say."""
    for name in ("out_features", "nf", "out_channels", "output_size_per_partition", "output_size"):
        answer = vars(module).get(name)
        if isinstance(answer, int):
            return answer
    return None


def inputs_of(module: nn.Module) -> int | None:
    """Number of inputs of a linear map, as its own attributes say."""
    for name in ("in_features", "nx", "in_channels", "input_size_per_partition", "input_size"):
        answer = vars(module).get(name)
        if isinstance(answer, int):
            return answer
    return own_shapes(module).get("weight", (None,))[0] if is_stored_transposed(module) else None


def outputs_beside(module: nn.Module) -> Iterator[Child]:
    """The children that are named as outputs of an attention."""
    for name, child in module.named_children():
        linear = _linear(child, name) if _OUTPUT.fullmatch(name) else None
        if linear is not None:
            yield linear


def _complete(roles: dict[str, Child]) -> bool:
    if not any(wanted <= set(roles) for wanted in _FUSED):
        return False
    # heads of equal width: the keys of all heads divide the queries
    query, key = (outputs_of(roles[role].module) if role in roles else None for role in ("query", "key"))
    return query is None or not key or query % key == 0


def _direct(module: nn.Module) -> dict[str, Child]:
    found: dict[str, Child] = {}
    for name, child in module.named_children():
        role, linear = _role(name, module), _linear(child, name)
        if role is not None and linear is not None:
            found.setdefault(role, linear)
    return found


def _role(name: str, module: nn.Module) -> str | None:
    if name == "c_attn":
        # GPT-2's name of the fused projection, which holds no query where that one stands beside it
        return "key_value" if "q_attn" in module._modules else "query_key_value"
    if name in _PACKED or (name == "in_proj" and {"q_bias", "v_bias"} <= set(module._parameters)):
        return "query_key_value"
    for role, pattern in _NAMES.items():
        if pattern.fullmatch(name):
            return role
    return "output" if _OUTPUT.fullmatch(name) else None


def _inner(module: nn.Module) -> Found | None:
    """BERT's way: the projections in a module beside another one with the dense layer of the output."""
    for name, places in _ONE_FURTHER_DOWN.items():
        inside = module._modules.get(name)
        if inside is None:
            continue
        below = _direct(inside)
        output = next(filter(None, (_at(module, place) for place in places)), None)
        if _complete(below) and "output" not in below and output is not None:
            roles = {role: child.below(name) for role, child in below.items()}
            return Found({**roles, "output": output}, inside, name)
    return None


def _at(module: nn.Module, path: str) -> Child | None:
    first, _, last = path.partition(".")
    around = module._modules.get(first)
    child = None if around is None else around._modules.get(last)
    return None if child is None or not _is_linear(child) else Child(path, child)


def _listed(module: nn.Module) -> Found | None:
    """A list of four equal square maps in a module that counts its heads: query, key, value, output."""
    linears = module._modules.get("linears")
    children = [] if linears is None else list(linears.named_children())
    own = vars(module)
    if len(children) != 4 or not any(isinstance(own.get(name), int) for name in ("h", "heads", "num_heads", "n_heads")):
        return None
    if any(not isinstance(child, nn.Linear) or child.in_features != child.out_features for _, child in children):
        return None
    names = ("query", "key", "value", "output")
    roles = {role: Child(f"linears.{name}", child) for role, (name, child) in zip(names, children, strict=True)}
    return Found(roles, module)


def _linear(child: nn.Module, path: str) -> Child | None:
    """The first linear map of a child, which is the child itself, or in a sequence or a layer with its norm."""
    steps = list(_steps(child, path))
    for index, (place, step) in enumerate(steps):
        if _is_linear(step):
            before, behind = tuple(module for _, module in steps[:index]), tuple(steps[index + 1 :])
            # more than one of them is a network of its own
            return None if any(_is_linear(other) for _, other in behind) else Child(place, step, before, behind)
    return None


def _steps(child: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """What an input goes through, one behind the other, without what does nothing in evaluation mode."""
    if isinstance(child, _HARMLESS):
        return
    if isinstance(child, nn.Sequential) or _is_listed_with_dropout(child) or _is_layer_with_norm(child):
        for name, inner in child.named_children():
            yield from _steps(inner, f"{path}.{name}")
    else:
        yield path, child


def _is_listed_with_dropout(child: nn.Module) -> bool:
    """One map and what does nothing, in a list: as in diffusers."""
    return isinstance(child, nn.ModuleList) and sum(not isinstance(inner, _HARMLESS) for inner in child) == 1


def _is_layer_with_norm(module: nn.Module) -> bool:
    """A linear map, the batch normalisation behind it, and at most an activation."""
    children = list(module.children())
    kinds = [_is_linear(children[0]), isinstance(children[1], _NormBase)] if len(children) in (2, 3) else [False]
    last = children[2] if len(children) == 3 else None
    return all(kinds) and not module._parameters and (last is None or not list(last.parameters()))


def _is_linear(child: nn.Module) -> bool:
    if isinstance(child, _ConvNd):
        return not child.transposed and prod(child.kernel_size) == 1 and not any(map(_number, _padding(child)))
    return isinstance(child, nn.Linear) or is_stored_transposed(child) or _is_like_linear(child)


def _padding(child: _ConvNd) -> tuple[int | str, ...]:
    return () if isinstance(child.padding, str) else tuple(child.padding)


def _number(value: int | str) -> int:
    return value if isinstance(value, int) else 0


def _is_like_linear(child: nn.Module) -> bool:
    """A linear layer of a library that cuts it over devices: its weight is as large as its attributes say."""
    sizes = tuple(vars(child).get(name) for name in ("output_size", "input_size"))
    named = any(form.__name__.endswith("Linear") for form in type(child).__mro__)
    return named and own_shapes(child).get("weight") == sizes
