"""Which normalisation is certain to stand right before or right behind a layer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from lmd.layers.registry import join, own_forward
from lmd.sources.network import Network

__all__ = ["Feeds", "feeds_of"]

_READERS = frozenset(
    [
        "q_proj",
        "k_proj",
        "v_proj",
        "q_a_proj",
        "kv_a_proj_with_mqa",
        "query",
        "key",
        "value",
        "qkv",
        "qkv_proj",
        "c_attn",
        "query_key_value",
        "Wqkv",
        "in_proj",
        "in_proj_weight",
        "q_proj_weight",
        "k_proj_weight",
        "v_proj_weight",
        "gate_proj",
        "up_proj",
        "gate_up_proj",
        "fc1",
        "linear1",
        "c_fc",
        "dense_h_to_4h",
        "Wi",
        "w1",
        "w3",
        "w12",
        "gate",
        "router",
        "shared_expert_gate",
    ]
)
"""Layers that read what comes into an attention or a feed-forward block, by the names libraries give them."""

_BLOCKS = (
    ("ln_1", ("attn",), "ln_2", ("mlp",)),
    (
        "input_layernorm",
        ("self_attn", "attention", "self_attention"),
        "post_attention_layernorm",
        ("mlp", "feed_forward", "block_sparse_moe"),
    ),
    ("layernorm_before", ("attention",), "layernorm_after", ("intermediate", "mlp")),
    ("norm", ("mixer",), "", ()),
)
"""Pre-norm blocks: the norm of the attention, its names, the norm of the feed-forward part, its names."""
_NORM_BEHIND = ("pre_feedforward_layernorm", "post_feedforward_layernorm", "post_mlp_layernorm")
"""Where these stand beside it, ``post_attention_layernorm`` is behind the attention and feeds nothing."""


@dataclass(frozen=True, slots=True)
class Feeds:
    """Path of a module, or of a block, to the normalisation beside it.

    Attributes:
        before: module to the normalisation that makes its whole input.
        behind: module to the batch normalisation that its whole output goes through.
        blocks: block to the normalisation that those of its layers read which are named as readers.
    """

    before: dict[str, str] = field(default_factory=dict)
    behind: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, str] = field(default_factory=dict)

    def norm_before(self, tensor: str) -> str | None:
        """The normalisation that feeds the layer of a tensor."""
        owner = _owner(tensor)
        if owner in self.before:
            return self.before[owner]
        block = owner
        while block and block not in self.blocks:
            block = _parent(block)
        # a stack of experts and packed projections are parameters of the block itself
        words = {owner.rpartition(".")[2], tensor.rpartition(".")[2]}
        readers = {*_READERS, "dense"} if block.endswith("intermediate") else _READERS
        return self.blocks[block] if block and words & readers else None

    def norm_behind(self, tensor: str) -> str | None:
        """The batch normalisation behind the layer of a tensor."""
        return self.behind.get(_owner(tensor))


def _owner(tensor: str) -> str:
    effective, parametrised, _ = tensor.partition(".parametrizations.")
    return effective if parametrised else _parent(tensor)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def feeds_of(network: Network, norms: Mapping[str, object]) -> Feeds:
    """Look for sequences, pairs such as ``conv1 bn1``, and pre-norm blocks whose names leave no doubt.

    Args:
        network: its skeleton is looked at.
        norms: paths of the modules that are diagonal maps.
    """
    feeds = Feeds()
    for place, module in network.skeleton.named_modules():
        path = network.names.get(place, place)
        children = {name: child for name, child in module.named_children() if not isinstance(child, nn.Dropout)}
        if isinstance(module, nn.Sequential) and not own_forward(module):
            pairs = list(zip(list(children), list(children)[1:], strict=False))
        else:
            pairs = list(_numbered(children))
            feeds.blocks.update(_blocks(module, path, children))
        _take_pairs(feeds, path, children, pairs, norms)
    return feeds


def _take_pairs(
    feeds: Feeds,
    path: str,
    children: Mapping[str, nn.Module],
    pairs: list[tuple[str, str]],
    norms: Mapping[str, object],
) -> None:
    for first, second in pairs:
        one, two = join(path, first), join(path, second)
        if _is_map(children[first]) and isinstance(children[second], _NormBase) and two in norms:
            feeds.behind[one] = two
        elif one in norms and one not in feeds.behind.values() and _is_map(children[second]):
            feeds.before[two] = one


def _is_map(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | _ConvNd)


def _numbered(children: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    """``conv1 bn1`` where the convolution was made first: in a pre-activation block it is the other way round."""
    order = list(children)
    for name in order:
        norm = name.replace("conv", "bn")
        if norm != name and norm in children and order.index(norm) == order.index(name) + 1:
            yield name, norm


def _is_behind(module: nn.Module, order: list[str], norm: str, body: str) -> bool:
    """Whether a norm of this name normalises what comes out: in the first GPT, made in that order, and in Swin V2."""
    return (norm == "ln_1" and order.index(norm) > order.index(body)) or "swinv2" in type(module).__name__.lower()


def _blocks(module: nn.Module, path: str, children: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    if getattr(module, "norm_first", False):
        yield join(path, "self_attn"), join(path, "norm1")
        # a decoder's second norm feeds the cross-attention
        yield join(path, "linear1"), join(path, "norm3" if "multihead_attn" in children else "norm2")
    for first, bodies, second, others in _BLOCKS:
        body = next((name for name in bodies if name in children), "")
        if first not in children or not body or _is_behind(module, list(children), first, body):
            continue
        yield join(path, body), join(path, first)
        other = next((name for name in others if name in children), "")
        if second in children and other and not any(name in children for name in _NORM_BEHIND):
            yield join(path, other), join(path, second)
