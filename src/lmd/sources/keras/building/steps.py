"""Steps of a graph, written one call after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from lmd.sources.graph.step import Step
from lmd.sources.keras.configuration.layer_config import LayerConfig
from lmd.sources.keras.hdf5.contents import DataSet
from lmd.sources.loaders import Loader

__all__ = ["Built", "CannotRunError", "Given", "Steps", "Value"]


class CannotRunError(ValueError):
    """A layer whose weights are read, and which cannot be run; says why."""


@dataclass(frozen=True, slots=True)
class Value:
    """The name of a value, and of the mask that Keras sends along; '' without."""

    name: str
    mask: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What one call of a layer takes.

    Attributes:
        layer: the layer.
        values: those of the first argument, one or a list.
        arguments: by position, behind the first.
        named: by name.
    """

    layer: LayerConfig
    values: tuple[Value, ...]
    arguments: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> Value:
        """The only one.

        Raises:
            CannotRunError: there are more, or none.
        """
        if len(self.values) != 1:
            raise CannotRunError(f"it is called on {len(self.values)} values, one is right")
        return self.values[0]

    def argument(self, name: str, place: int) -> Any:
        """An argument by its name, or its place behind the first; None where it is left out."""
        if name in self.named:
            return self.named[name]
        return self.arguments[place] if place < len(self.arguments) else None


@dataclass(slots=True, eq=False)
class Built:
    """The modules of one layer, as torch has them.

    Attributes:
        path: of the layer.
        arrays: role to stored array.
        modules: path to module.
        loaders: torch's names, from the root, to loaders.
        parameters: name of a value to the parameter that it is.
    """

    path: str
    arrays: Mapping[str, DataSet]
    modules: dict[str, nn.Module] = field(default_factory=dict)
    loaders: dict[str, Loader] = field(default_factory=dict)
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)

    def stored(self, role: str, shape: tuple[int, ...] | None = None) -> Loader:
        """The loader of a variable, in a shape of as many elements."""
        return self.arrays[role].loader(self.name(role), shape)

    def shape(self, role: str) -> tuple[int, ...]:
        """Shape of a variable as stored."""
        return self.arrays[role].shape

    def has(self, role: str) -> bool:
        """Whether the layer has the variable."""
        return role in self.arrays

    def name(self, role: str) -> str:
        """Name of a variable's record."""
        return f"{self.path}.{role}".lstrip(".")

    def below(self, prefix: str, path: str | None = None) -> "Built":
        """A part of the layer, ``forward``, with the same tables."""
        cut = f"{prefix}." if prefix else ""
        arrays = {role.removeprefix(cut): array for role, array in self.arrays.items() if role.startswith(cut)}
        return _Part(path or self.path, arrays, self.modules, self.loaders, self.parameters, cut)

    def add(self, module: nn.Module, loaders: Mapping[str, Loader], part: str = "") -> str:
        """Put a module at the layer's path, or at a part of it, with a loader for each of its tensors."""
        path = f"{self.path}.{part}".strip(".")
        self.modules[path] = module
        self.loaders.update({f"{path}.{name}": loader for name, loader in loaders.items()})
        return path

    def hold(self, role: str, parameter: nn.Parameter) -> str:
        """Keep a variable as a value of the graph, and give its name there."""
        name = self.name(role)
        self.parameters[name] = parameter
        self.loaders[name] = self.stored(role)
        return name


@dataclass(slots=True, eq=False)
class _Part(Built):
    prefix: str = ""

    def name(self, role: str) -> str:
        return f"{self.path}.{self.prefix}{role}".lstrip(".")


class Steps:
    """Collects the steps; every value has a name of its own."""

    def __init__(self) -> None:
        """Nothing is done yet."""
        self.steps: list[Step] = []
        self._count = 0

    def apply(self, name: str, operation: str, inputs: Sequence[str], **attributes: Any) -> str:
        """One operation with one result."""
        output = self._fresh()
        self.steps.append(Step(name, operation, tuple(inputs), (output,), attributes))
        return output

    def several(self, name: str, operation: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """One operation with ``count`` results."""
        outputs = [self._fresh() for _ in range(count)]
        self.steps.append(Step(name, operation, tuple(inputs), tuple(outputs), attributes))
        return outputs

    def call(self, path: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> list[str]:
        """A call of a module."""
        outputs = [self._fresh() for _ in range(count)]
        self.steps.append(Step(path, "", tuple(inputs), tuple(outputs), attributes, module=path))
        return outputs

    def on(self, value: Value, name: str, operation: str, **attributes: Any) -> Value:
        """One operation on one value, whose mask stays."""
        return replace(value, name=self.apply(name, operation, (value.name,), **attributes))

    def through(self, value: Value, path: str) -> Value:
        """A call of a module on one value, whose mask stays."""
        return replace(value, name=self.call(path, (value.name,))[0])

    def _fresh(self) -> str:
        self._count += 1
        return f"value {self._count}"
