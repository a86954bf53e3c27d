"""What a file's header says before any number is read. Needs no torch, so that ``lmd inspect`` starts at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal

__all__ = ["Confidence", "Reading", "Role", "TensorRecord"]

Role = Literal["parameter", "buffer", "optimiser", "tied"]

Confidence = Literal["declared", "shape", "siblings", "guess"]
"""Why a module was read as it was: the architecture is declared (a live module, config.json); the shapes allow one
reading only; several fit and siblings decided; several fit and only a convention of naming decided."""


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """One tensor of a source, as its header declares it.

    Attributes:
        name: dotted name inside the network, container prefixes such as ``module.`` removed.
        shape: as stored.
        dtype: torch's word for the type, ``float32``; ``none`` if it holds no numbers.
        role: what it is to the network.
        reason: why it has that role, in words; empty for parameters.
        file_name: the name in the file when it differs.
        tied_to: for a tied tensor the name it is decomposed under.
        logical: of packed codes, how many numbers they stand for; 0 where each element is one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role = "parameter"
    reason: str = ""
    file_name: str = ""
    tied_to: str = ""
    logical: int = 0

    @property
    def elements(self) -> int:
        """Number of elements, of the numbers it stands for where they are packed."""
        return self.logical or prod(self.shape)


@dataclass(frozen=True, slots=True)
class Reading:
    """One module of a bare file: which kind its tensors' names and shapes allow.

    Attributes:
        path: dotted path of the module.
        kind: the kind chosen, one of ``lmd.sources.rules.override.KINDS``.
        roles: role in torch's words (``weight``, ``bias``, ``weight_ih_l0``) to tensor name.
        shape: of the effective weight.
        confidence: what decided.
        alternatives: other kinds the shapes allow, for ``--kind``.
        settings: arguments the module needs and its shapes do not tell (``groups``).
        reason: the evidence, in words.
        shapes: role to shape, for modules that are known by the parameters they hold.
    """

    path: str
    kind: str
    roles: Mapping[str, str]
    shape: tuple[int, ...] = ()
    confidence: Confidence = "shape"
    alternatives: tuple[str, ...] = ()
    settings: Mapping[str, int] | None = None
    reason: str = ""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
