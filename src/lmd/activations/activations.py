"""What goes into and comes out of a layer when the network sees data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

__all__ = ["Activations", "as_it_was", "capture"]


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """Inputs and outputs of one dense layer, one row for each example.

    Attributes:
        layer: path of the module.
        inputs: ``(n, in)``.
        outputs: ``(n, out)``, bias included.
        labels: ``(n,)`` class of each example, or None.
    """

    layer: str
    inputs: Float[Tensor, "n in"]
    outputs: Float[Tensor, "n out"]
    labels: Tensor | None = None


def capture(model: nn.Module, data: Tensor, labels: Tensor | None, paths: Sequence[str]) -> Iterator[Activations]:
    """Run ``model`` on ``data`` once and keep what its dense layers saw; the model is left as it was.

    Args:
        model: the network; run in evaluation mode, its mode restored afterwards.
        data: one batch of examples, the first axis counts them.
        labels: class of each example.
        paths: modules to watch; those that are not called, or whose data are not ``(n, in)``, are left out.

    Raises:
        ValueError: the model has parameters without numbers, or does not take the data.
    """
    if any(isinstance(parameter, UninitializedParameter) for parameter in model.parameters()):
        raise ValueError("the network has parameters that are not initialised yet; call it once before it is analysed.")
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [model.get_submodule(path).register_forward_hook(_keep(seen, path)) for path in paths]
    try:
        with as_it_was(model), torch.no_grad():
            model.eval()
            model(data)
    except (RuntimeError, TypeError, ValueError, IndexError) as fault:
        raise ValueError(
            f"the network does not take data of shape {tuple(data.shape)} and type {data.dtype}: {fault}"
        ) from fault
    finally:
        for handle in handles:
            handle.remove()
    for path in paths:
        if path in seen and seen[path][0].ndim == 2 and len(seen[path][0]) == len(data):
            yield Activations(path, *seen[path], labels)


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Let a model be run, and put its modes and its buffers back where they were."""
    modes = {module: module.training for module in model.modules()}
    buffers = {module: dict(module._buffers) for module in model.modules()}
    numbers = [(buffer, buffer._version, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
            module._buffers.update(buffers[module])
        with torch.no_grad():
            for buffer, version, before in numbers:
                if buffer._version != version:
                    buffer.copy_(before)


def _keep(seen: dict[str, tuple[Tensor, Tensor]], path: str) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            seen[path] = (inputs[0].detach().clone(), output.detach().clone())

    return hook
