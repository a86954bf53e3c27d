"""The first noun: a trained model, from wherever it came."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from lmd.sources.loaders import Loader
from lmd.sources.reading import Reading, TensorRecord
from lmd.sources.wishes import Wishes

__all__ = ["Network"]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A trained model: its module tree and a loader for each of its tensors.

    Attributes:
        name: what people call it.
        source: the path, Hub name or class it came from.
        sha256: of the file's bytes; for a folder of the lines ``<sha256>  <file name>`` of its weight files in
            alphabetical order; for a live module of each tensor's name, type, shape and bytes.
        dtype: the type that holds most elements.
        skeleton: the module tree, on the meta device when only weights exist.
        records: one for each tensor the source holds, in its order.
        loaders: tensor name, or effective parametrised name such as ``conv.weight``, to its loader.
        names: module path in the skeleton to module path in the file, where the two differ.
        readings: module path to how a bare file was read; empty for declared architectures.
        runs: whether ``skeleton`` can be called on data.
        facts: what else the source tells (revision, optimiser settings, recorded epochs).
        wishes: what the caller wants to see of each layer.
        input_sizes: module path to the spatial sizes of what came into it, each ``(height, width)``, where known.
        unsized: module path to why they are not known.
    """

    name: str
    source: str
    sha256: str
    dtype: str
    skeleton: nn.Module
    records: tuple[TensorRecord, ...]
    loaders: Mapping[str, Loader]
    names: Mapping[str, str] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    runs: bool = False
    facts: Mapping[str, object] = field(default_factory=dict)
    wishes: Wishes = field(default_factory=Wishes)
    input_sizes: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    unsized: Mapping[str, str] = field(default_factory=dict)

    def loader(self, name: str) -> Loader:
        """The loader of one tensor, by its own or its effective name.

        Raises:
            KeyError: no such tensor.
        """
        return self.loaders[name]
