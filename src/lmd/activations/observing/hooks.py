"""Hooks on a network's layers that leave no trace, and nonlinearities told apart by the layer before them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lmd.activations.activations import as_it_was
from lmd.activations.observing.gates import watching_gates

__all__ = ["Call", "Gate", "first_tensor", "watched", "with_first"]

Call = Callable[[str, nn.Module, tuple[Any, ...], Any], Any]
"""From path, module, what it was called with and what it gave to what it gives instead; None for the same."""
Gate = Callable[[str, str, Tensor], None]
"""From path of the layer before, name of the nonlinearity, and open gates ``(n, positions, units)``."""


@contextmanager
def watched(model: nn.Module, paths: Sequence[str], call: Call | None, gate: Gate | None) -> Iterator[None]:
    """Call back for each layer and each nonlinearity right behind one; modes, buffers, hooks and random state stay.

    A nonlinearity belongs to the last layer called before it, if it takes a tensor of the shape that the layer gave:
    normalisations and sums may lie between.
    """
    last: dict[str, Any] = {}

    def hook(path: str) -> Callable[..., Any]:
        def seen(module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any], answer: Any) -> Any:
            output = first_tensor(answer)
            if output is None:
                return None
            last.update(path=path, shape=output.shape, channels=1 if isinstance(module, _ConvNd) else -1)
            return None if call is None else call(path, module, given or tuple(named.values()), answer)

        return seen

    def gated(name: str, x: Tensor, opened: Tensor) -> None:
        if gate is None or last.get("shape") != x.shape or last.get("path") is None:
            return
        by_unit = opened if last["channels"] == -1 else opened.movedim(1, -1)
        path = last["path"]
        last.clear()
        gate(path, name, by_unit.reshape(len(by_unit), -1, by_unit.shape[-1]))

    handles = [model.get_submodule(path).register_forward_hook(hook(path), with_kwargs=True) for path in paths]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        # the fast path of attention calls no hooks
        torch.backends.mha.set_fastpath_enabled(False)
        with as_it_was(model), torch.random.fork_rng(devices=[]), watching_gates(gated):
            model.eval()
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()


def first_tensor(value: Any) -> Tensor | None:
    """The answer of a module, or what stands first in it: of a library's records the logits."""
    if isinstance(value, Tensor):
        return value
    logits = getattr(value, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return next((found for part in value if (found := first_tensor(part)) is not None), None)
    return None


def with_first(value: Any, tensor: Tensor) -> Any:
    """The same answer with another tensor in its first place."""
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
        return (tensor, *value[1:])
    return tensor
