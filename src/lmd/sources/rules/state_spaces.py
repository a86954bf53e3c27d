"""What stands in a state-space block."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from lmd.sources.reading import Reading
from lmd.sources.rules.module import Module

__all__ = ["depthwise_of_states"]


def depthwise_of_states(modules: Sequence[Module], readings: Sequence[Reading | None]) -> list[Reading | None]:
    """The convolution of a state-space block, beside ``A_log``, reads each channel by itself."""
    blocks = {module.path for module in modules if "A_log" in module.shapes}
    return [_depthwise(m, r) if m.parent in blocks else r for m, r in zip(modules, readings, strict=True)]


def _depthwise(module: Module, reading: Reading | None) -> Reading | None:
    if reading is None or not reading.kind.endswith("kernel_matrix") or len(reading.shape) < 3:
        return reading
    outputs, inputs = reading.shape[:2]
    if inputs != 1 or outputs == 1 or prod(reading.shape[2:]) == 1:
        return reading
    return replace(
        reading,
        kind="grouped_kernel_matrix",
        confidence="siblings",
        alternatives=("kernel_matrix",),
        settings={"groups": outputs},
        reason=f"it stands in a state-space block: {outputs} groups",
    )
