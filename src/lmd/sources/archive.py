"""What a file holds before it is read as a network. Needs no torch, so that ``lmd inspect`` starts at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmd.sources.reading import Reading, TensorRecord

if TYPE_CHECKING:
    from torch import nn

    from lmd.sources.loaders import Loader

__all__ = ["Archive"]


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """The tensors of one source, told apart only as far as the container tells them apart.

    Attributes:
        records: every tensor, in the order of the file. Optimiser state, tensors recorded beside the network and tied
            ones have their role already; the rest are ``parameter`` until rules tell the buffers.
        loaders: by ``TensorRecord.name``; empty when only the header was read, and without an entry for a tensor that
            is not a dense block of numbers (its record says so).
        facts: what else the source tells, as JSON values: ``format``, ``config``, ``metadata``, ``optimisers``,
            ``recorded``, ``networks``, ``revision``.
        files: the weight files read, in the order of their names, for the checksum.
        readings: how the modules are read, where the file itself tells; None leaves that to the rules.
        skeleton: the module tree on the meta device, where the file itself tells and more than its header was read.
            ``loaders`` then has an entry for each of its parameters and buffers, by torch's name, beside those of the
            records.
    """

    records: tuple[TensorRecord, ...]
    loaders: Mapping[str, "Loader"] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    readings: tuple[Reading, ...] | None = None
    skeleton: "nn.Module | None" = None
