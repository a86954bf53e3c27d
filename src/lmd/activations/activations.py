"""What goes into and comes out of a layer when the network sees data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Activations", "capture"]


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
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [model.get_submodule(path).register_forward_hook(_keep(seen, path)) for path in paths]
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            model(data)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    for path in paths:
        if path in seen and seen[path][0].ndim == 2 and len(seen[path][0]) == len(data):
            yield Activations(path, *seen[path], labels)


def _keep(seen: dict[str, tuple[Tensor, Tensor]], path: str) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            seen[path] = (inputs[0].detach().clone(), output.detach().clone())

    return hook
