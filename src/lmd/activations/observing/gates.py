"""Which gates are open: where the nonlinearity behind a layer lets a change of its input through."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["GateSums", "Gates", "watching_gates"]

Seen = Callable[[str, Tensor, str], None]

_THRESHOLDS: Mapping[str, float] = {"sigmoid": 0.125, "hardsigmoid": 1 / 12}
"""Half of the largest derivative, where that is not about 1."""
_DEFAULT = 0.5
_FUNCTIONS: Mapping[str, Sequence[Any]] = {
    "relu": (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
    "relu6": (functional.relu6,),
    "leaky_relu": (functional.leaky_relu, functional.leaky_relu_),
    "prelu": (functional.prelu, torch.prelu, Tensor.prelu),
    "rrelu": (functional.rrelu,),
    "elu": (functional.elu, functional.elu_),
    "selu": (functional.selu, torch.selu, torch.selu_),
    "celu": (functional.celu, torch.celu),
    "gelu": (functional.gelu,),
    "silu": (functional.silu,),
    "mish": (functional.mish,),
    "softplus": (functional.softplus,),
    "softsign": (functional.softsign,),
    "tanh": (torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_, functional.tanh),
    "sigmoid": (torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, functional.sigmoid),
    "hardtanh": (functional.hardtanh,),
    "hardswish": (functional.hardswish,),
    "hardsigmoid": (functional.hardsigmoid,),
}
_NAMES = {function: name for name, functions in _FUNCTIONS.items() for function in functions}


@dataclass(frozen=True, slots=True, eq=False)
class Gates:
    """The gates behind one layer, over all examples.

    A gate is open where the nonlinearity's derivative is above half of its largest: of ReLU, where
    its input is positive.

    Attributes:
        layer: path of the layer.
        function: name of the nonlinearity.
        examples: how many were run.
        positions: gates of one unit in one example: positions of a picture, tokens; 1 for plain vectors.
        open_share: ``(units,)`` share of examples and positions at which each unit is open.
        opened: ``(units,)`` number of examples in which it is open anywhere.
        closed: ``(units,)`` number of examples in which it is closed anywhere.
        patterns: number of different patterns of open gates met; None where examples cannot be told apart.
        near: ``(pairs,)`` gates that change along the segment between two neighbours; None without segments.
        far: the same between two examples drawn at random.
    """

    layer: str
    function: str
    examples: int
    positions: int
    open_share: Float64[Tensor, " units"]
    opened: Int64[Tensor, " units"]
    closed: Int64[Tensor, " units"]
    patterns: int | None
    near: Float64[Tensor, " pairs"] | None = None
    far: Float64[Tensor, " pairs"] | None = None


class _Mode(TorchFunctionMode):
    def __init__(self, see: Callable[[str, Any, tuple[Any, ...], dict[str, Any]], None]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        name = _NAMES.get(func)
        if name is not None:
            self._see(name, func, args, named)
        return func(*args, **named)


@contextmanager
def watching_gates(see: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Call ``see`` with the name of each nonlinearity, its input, and which gates are open, before it is applied."""

    def looked_at(name: str, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        x = args[0] if args else named.get("input")
        if isinstance(x, Tensor) and x.dtype.is_floating_point and x.ndim >= 1:
            rest = {key: value for key, value in named.items() if key not in ("input", "inplace")}
            see(name, x, _open(name, x.detach(), args[1:], rest))

    with _Mode(looked_at):
        yield


def _open(name: str, x: Tensor, args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    if name in ("relu", "prelu", "leaky_relu", "rrelu"):
        return x > 0
    if name == "relu6":
        return (x > 0) & (x < 6)
    function = _FUNCTIONS[name][0]
    with torch.enable_grad():
        z = x.clone().requires_grad_()
        # an argument that asks for work in place would ask for it on a leaf
        plain = [value for value in args if not isinstance(value, bool)]
        (slope,) = torch.autograd.grad(function(z, *plain, **named).sum(), z)
    return slope > _THRESHOLDS.get(name, _DEFAULT)


class GateSums:
    """Running counts of one layer's gates."""

    def __init__(self, layer: str, function: str, units: int) -> None:
        """Begin with zeros."""
        self._layer, self._function = layer, function
        self._open = torch.zeros(units, dtype=torch.float64)
        self._opened = torch.zeros(units, dtype=torch.int64)
        self._closed = torch.zeros(units, dtype=torch.int64)
        self._patterns: set[bytes] | None = set()
        self._examples = self._positions = 0

    def add(self, gates: Tensor, examples: int) -> list[bytes] | None:
        """Gates ``(n, positions, units)`` of one batch; the pattern of each example, if they can be told apart."""
        self._positions = gates.shape[1]
        self._open += gates.double().mean(dim=1).sum(dim=0)
        self._opened += gates.any(dim=1).sum(dim=0)
        self._closed += (~gates).any(dim=1).sum(dim=0)
        self._examples += len(gates)
        if len(gates) != examples or self._patterns is None:
            self._patterns = None
            return None
        found = patterns_of(gates)
        self._patterns.update(found)
        return found

    def gates(self) -> Gates:
        """What was counted."""
        n = max(self._examples, 1)
        patterns = None if self._patterns is None else len(self._patterns)
        share = self._open / n
        return Gates(
            self._layer, self._function, self._examples, self._positions, share, self._opened, self._closed, patterns
        )


def patterns_of(gates: Tensor) -> list[bytes]:
    """A digest of the open gates of each example."""
    import numpy

    packed = numpy.packbits(gates.reshape(len(gates), -1).cpu().numpy(), axis=1)
    return [blake2b(row.tobytes(), digest_size=16).digest() for row in packed]
