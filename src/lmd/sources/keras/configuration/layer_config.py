"""One layer as a configuration describes it; a model is a layer with layers inside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MODELS", "OWN_CLASS", "Call", "LayerConfig", "Reference"]

MODELS = frozenset({"Sequential", "Functional", "Model"})
OWN_CLASS = "own class"
"""Setting of a model of somebody's own class whose layers its configuration lists: the name of that class."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A value: which output of which call of which layer of the same model."""

    layer: str
    call: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a layer: lists, mappings and constants, with a ``Reference`` where a value is taken."""

    arguments: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    def references(self) -> tuple[Reference, ...]:
        """Every value it takes."""
        return tuple(_references((self.arguments, self.named)))


@dataclass(frozen=True, slots=True, eq=False)
class LayerConfig:
    """A layer.

    Attributes:
        name: as the model calls it.
        class_name: such as ``Dense``; ``?Dense`` of somebody's own class, ``ops.Add`` of an operation of Keras 3.
        path: dotted path in the network, those of the models around it first.
        settings: its own ``config``, in the words of Keras 2.
        version: of Keras, 1, 2 or 3: some defaults depend on it.
        calls: in order.
        inside: layers of a model, or those that a wrapper wraps.
        inputs: of a model.
        outputs: of a model.
        trainable: False if it, or a model around it, was frozen.
    """

    name: str
    class_name: str
    path: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: int = 2
    calls: tuple[Call, ...] = ()
    inside: tuple["LayerConfig", ...] = ()
    inputs: tuple[Reference, ...] = ()
    outputs: tuple[Reference, ...] = ()
    trainable: bool = True

    @property
    def is_model(self) -> bool:
        """Whether it is a graph of layers."""
        return self.class_name in MODELS

    @property
    def model(self) -> "LayerConfig | None":
        """The graph of layers that it is, or that it calls at every step."""
        if self.is_model:
            return self
        return self.inside[0].model if self.class_name == "TimeDistributed" and self.inside else None

    def setting(self, name: str, default: Any = None) -> Any:
        """What the configuration says, or the default where it says nothing."""
        value = self.settings.get(name)
        return default if value is None else value

    def flag(self, name: str, *, default: bool) -> bool:
        """Whether a setting is on."""
        return bool(self.setting(name, default))

    def leaves(self) -> Iterator["LayerConfig"]:
        """The layers of a model, and of the models in it; a layer that is no model is its own leaf."""
        if self.model is None:
            yield self
            return
        for layer in self.model.inside:
            yield from layer.leaves()


def _references(value: Any) -> Iterator[Reference]:
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _references(part)
