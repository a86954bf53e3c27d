"""A trial of an attention module: which stored rows each channel of what its heads give depends on."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lmd.layers.attention.children import Child, Found
from lmd.layers.attention.counts import Heads
from lmd.layers.attention.norms import is_norm_of_heads
from lmd.layers.attention.projection import Projection
from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.skeleton import is_stored_transposed

__all__ = ["FAILURES", "Rows", "Trial", "Tried", "Weights", "trial_of"]

FAILURES = (*FOREIGN_FAULTS, copy.Error)
"""Of a module that is called on something else than it takes."""
_LARGEST = 20_000_000
"""Parameters of a module that is copied and tried: a second of work."""
_TOKENS = 4
_NOTHING = 1e-9
"""Of the largest gradient: the trial computes in float64."""
_ALONG = 1e-9
"""What the cosine between a gradient and a token may be short of 1."""

Weights = Mapping[str, tuple[nn.Parameter, int]]
Rows = Mapping[str, Tensor]
"""Name of a stored weight below the module to which of its rows something depends on."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a copy of the module with random numbers showed.

    Attributes:
        path: of the module.
        channels: number of a channel in front of the output projection, and the rows that it depends on.
        alike: the rows that the whole depends on where all tokens are alike: those of the values, after a softmax.
        asking: the rows through which one place depends on a single token: those of the queries; None if that cannot
            be told.
        tried: the copy, to be tried further.
    """

    path: str
    channels: tuple[tuple[int, Rows], ...]
    alike: Rows
    asking: Rows | None
    tried: "Tried"

    def confirms(self, roles: Mapping[str, Projection], heads: Heads) -> bool:
        """Whether every channel depends on the rows of its own head, and on no others, as these heads say."""
        return self._asks(roles) and all(
            _same(rows, self._expected(roles, heads, channel))
            for channel, rows in self.channels
            if channel < heads.queries * heads.value_width
        )

    def is_softmax(self, roles: Mapping[str, Projection]) -> bool:
        """Whether queries and keys do not matter where all tokens are alike."""
        return _same(self.alike, self.marked(roles, [(roles["value"], 0, roles["value"].outputs)]))

    def marked(self, roles: Mapping[str, Projection], reads: Iterable[tuple[Projection, int, int]]) -> Rows:
        """The stored rows of some outputs: of a projection, from a start, so many."""
        marks: dict[str, Tensor] = {}
        for role in ("query", "key", "value"):
            projection = roles[role]
            size = projection.weight.shape[int(projection.stored_transposed)]
            marks.setdefault(self._stored(projection), torch.zeros(size, dtype=torch.bool))
        for projection, start, length in reads:
            for first, count in projection.strips.pieces(start, length):
                marks[self._stored(projection)][first : first + count] = True
        return marks

    def _expected(self, roles: Mapping[str, Projection], heads: Heads, channel: int) -> Rows:
        head, within = divmod(channel, heads.value_width)
        shared = head // (heads.queries // heads.keys)
        reads = [
            (roles["query"], head * heads.width, heads.width),
            (roles["key"], shared * heads.width, heads.width),
            (roles["value"], shared * heads.value_width + within, 1),
        ]
        if "gate" in roles:
            reads.append((roles["gate"], head * heads.width + within, 1))
        return self.marked(roles, reads)

    def _asks(self, roles: Mapping[str, Projection]) -> bool:
        """Whether queries, and not keys, are read from the place that is asked about."""
        query, key = (self.marked(roles, [(roles[role], 0, roles[role].outputs)]) for role in ("query", "key"))
        if self.asking is None or any(bool((query[name] & key[name]).any()) for name in query):
            return True
        asks = any(bool((self.asking[name] & mask).any()) for name, mask in query.items())
        return asks and not any(bool((self.asking[name] & mask).any()) for name, mask in key.items())

    def _stored(self, projection: Projection) -> str:
        # a part of a fused weight has a name of its own
        return projection.weight.tensors[0].removeprefix(f"{self.path}." if self.path else "")


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """A copy of a module with random numbers, and how it is called.

    Attributes:
        module: the copy.
        call: gives what the heads give.
        tokens: that it is called on.
        weights: name of a weight that reads, to it and its axis of outputs.
    """

    module: nn.Module
    call: "_Call"
    tokens: Tensor
    weights: "Weights"


def trial_of(module: nn.Module, path: str, found: Found) -> Trial | None:
    """Try a copy of the module; None if it cannot be called on tokens alone, or is too large."""
    if sum(parameter.numel() for parameter in module.parameters()) > _LARGEST:
        return None
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            return _tried(_copy(module), path, found)
    except FAILURES:
        # the module asks for more than tokens
        return None


def _same(rows: Rows, others: Rows) -> bool:
    return set(others) <= set(rows) and all(torch.equal(rows[name], mask) for name, mask in others.items())


def _copy(module: nn.Module) -> nn.Module:
    held = {name: buffer.detach().cpu().clone() for name, buffer in module.named_buffers() if not buffer.is_meta}
    tried = copy.deepcopy(module).to_empty(device="cpu").double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, buffer in tried.named_buffers():
        buffer.data = held[name].to(buffer.dtype) if name in held else torch.zeros_like(buffer)
    for parameter in tried.parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = drawn / prod(drawn.shape[1:]) ** 0.5 if drawn.ndim > 1 else 1.0 + 0.3 * drawn
        parameter.requires_grad_()
    for inner in tried.modules():
        # the user's hooks came along and are not to be called
        inner._forward_hooks.clear()
        inner._forward_pre_hooks.clear()
    for name, inner in tried.named_modules():
        if is_norm_of_heads(name.rpartition(".")[2]):
            # circuits know of them; what they divide by would tie all channels to all rows
            inner.register_forward_hook(lambda _, inputs, __: inputs[0])
    return tried


def _tried(module: nn.Module, path: str, found: Found) -> Trial | None:
    reader = _reader(found)
    for tokens, given in _calls(module, reader):
        call = _Call(module, given, found)
        try:
            mixed = call(tokens)
        except FAILURES:
            continue
        weights = _weights(module, found)
        if not mixed.requires_grad or not bool(mixed.isfinite().all()):
            return None
        if sum(int(rows.sum()) for rows in _touched(mixed, weights).values()) <= 1:
            # a single token: what was meant as tokens is a batch
            continue
        pictures = isinstance(reader.module, _ConvNd)
        axis = 1 if pictures else mixed.ndim - 1
        size = mixed.shape[axis]
        if not size:
            return None
        channels = tuple((c, _touched(mixed.select(axis, c), weights)) for c in sorted({0, size // 2, size - 1}))
        asking = _asking(mixed.movedim(axis, 0).flatten(1)[size // 2, -1], call, weights)
        alike = _touched(call(_alike(tokens, pictures=pictures)), weights)
        return Trial(path, channels, alike, asking, Tried(module, call, tokens, weights))
    return None


def _asking(one: Tensor, call: "_Call", weights: Weights) -> Rows | None:
    """The rows whose gradient, of one channel in one place, goes along a single token that they read."""
    gradients = torch.autograd.grad(one, [weight for weight, _ in weights.values()], retain_graph=True)
    found = {}
    for (name, (weight, axis)), gradient in zip(weights.items(), gradients, strict=True):
        rows, tokens = gradient.movedim(axis, 0).flatten(1), call.read.get(name)
        if tokens is None or tokens.shape[1] != weight.numel() // weight.shape[axis] or tokens.shape[1] < 2:
            return None
        along = (nn.functional.normalize(rows, dim=1, eps=1e-300) @ nn.functional.normalize(tokens, dim=1).T).abs()
        found[name] = (along.amax(1) > 1.0 - _ALONG) & (rows.abs().amax(1) > 0)
    return found


class _Call:
    """Calls the module; the answer is what goes into the output projection, ``read`` what its projections read."""

    def __init__(self, module: nn.Module, given: int, found: Found) -> None:
        self.module, self.given, self.output = module, given, found.roles.get("output")
        self.readers = [child for role, child in found.roles.items() if role != "output"]
        self.read: dict[str, Tensor] = {}

    def __call__(self, tokens: Tensor) -> Tensor:
        """What the heads give."""
        seen: dict[str, Tensor] = {}
        hooks = [
            self.module.get_submodule(child.path).register_forward_pre_hook(_keeps(seen, child.path))
            for child in (*self.readers, *([] if self.output is None else [self.output]))
        ]
        try:
            answer: Any = self.module(*[tokens] * self.given)
        finally:
            for hook in hooks:
                hook.remove()
        self.read = {f"{c.path}.weight": _flat(seen[c.path], c.module) for c in self.readers if c.path in seen}
        if self.output is None:
            return answer[0] if isinstance(answer, tuple | list) else answer
        return seen[self.output.path]


def _keeps(seen: dict[str, Tensor], path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _, inputs: seen.update({path: inputs[0]})


def _flat(tokens: Tensor, reader: nn.Module) -> Tensor:
    """One token in each row."""
    last = tokens.movedim(1, -1) if isinstance(reader, _ConvNd) and tokens.ndim > 2 else tokens
    return last.detach().reshape(-1, last.shape[-1])


def _reader(found: Found) -> Child:
    return next(child for role, child in found.roles.items() if role.startswith("query"))


def _calls(module: nn.Module, reader: Child) -> Iterator[tuple[Tensor, int]]:
    """Tokens in the shapes that attention takes them in, and how often to give them."""
    inner = reader.module
    if isinstance(inner, _ConvNd):
        width, sizes = inner.in_channels, [(2,) * (len(inner.weight.shape) - 2)]
        shapes = [(1, width, *size) for size in sizes]
    else:
        width = dict(inner.named_parameters())["weight"].shape[0 if is_stored_transposed(inner) else 1]
        window = vars(module).get("window_size", 0)
        area = window[0] * window[-1] if isinstance(window, tuple | list) and window else 0
        area = window * window if isinstance(window, int) else area
        # a window of tokens, with or without a token for the class
        counts = [_TOKENS, *([area, area + 1] if area else [])]
        shapes = [*((1, n, width) for n in counts), (_TOKENS, 1, width), (_TOKENS, width), (1, 2, 2, width)]
    generator = torch.Generator().manual_seed(1)
    for shape in shapes:
        tokens = torch.randn(shape, generator=generator, dtype=torch.float64)
        yield from ((tokens, given) for given in (1, 3, 2))


def _alike(tokens: Tensor, *, pictures: bool) -> Tensor:
    """The first token in every place."""
    if pictures:
        first = tokens.flatten(2)[:, :, :1]
        return first.expand(-1, -1, prod(tokens.shape[2:])).reshape(tokens.shape)
    return tokens.reshape(-1, tokens.shape[-1])[0].expand(tokens.shape)


def _weights(module: nn.Module, found: Found) -> Weights:
    """What reads, and its axis of outputs."""
    own = dict(module.named_parameters())
    children = [child for role, child in found.roles.items() if role != "output"]
    return {f"{c.path}.weight": (own[f"{c.path}.weight"], int(is_stored_transposed(c.module))) for c in children}


def _touched(answer: Tensor, weights: Weights) -> Rows:
    weigh = torch.randn(answer.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    asked = [weight for weight, _ in weights.values()]
    gradients = torch.autograd.grad((answer * weigh).sum(), asked, retain_graph=True, allow_unused=True)
    sizes = {
        name: (torch.zeros_like(weight) if gradient is None else gradient.abs()).movedim(axis, 0).flatten(1).amax(1)
        for (name, (weight, axis)), gradient in zip(weights.items(), gradients, strict=True)
    }
    largest = max(float(size.max()) for size in sizes.values())
    return {name: size > _NOTHING * largest for name, size in sizes.items()}
