"""A graph of operations as a module: its weights lie in children that torch knows, its steps run in order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lmd.sources.faults import FOREIGN_FAULTS
from lmd.sources.graph.operations import known, operation_named
from lmd.sources.graph.paddings import paddings_of
from lmd.sources.graph.step import Graph, Step
from lmd.sources.skeleton import place

__all__ = ["GraphModule"]


class GraphModule(nn.Module):
    """A network given as steps.

    Args:
        graph: its steps.
        layers: path to module, on the meta device; the paths may be dotted.
        parameters: names of values that are weights of no layer, to the dotted name and the parameter itself; tensors
            that are no parameters become buffers, and a layer's own stays where it is.

    Attributes:
        names: path of a child to the path it was given, where torch refused that.
        held: value to the dotted name under which its parameter or buffer is found.
        unknown: why the graph cannot be called, a sentence each.
        paddings: path of a layer to what pads its input, or cuts its output, in a step of its own; None if its calls
            differ in that.
    """

    def __init__(
        self,
        graph: Graph,
        layers: Mapping[str, nn.Module],
        parameters: Mapping[str, tuple[str, Tensor]] | None = None,
    ) -> None:
        """Place the layers; steps whose operation is not registered are named in ``unknown``."""
        super().__init__()
        self.graph = graph
        self.names: dict[str, str] = {}
        self.held: dict[str, str] = {}
        missing = [s for s in graph.steps if not s.module and not known(s.operation)]
        words = (f"operation {s.operation.partition('.')[2]} of node {s.name!r} is not known" for s in missing)
        self.unknown = (*graph.unknown, *words)
        self.paddings = paddings_of(graph)
        self._watches: list[Callable[[Step, Sequence[Any]], None]] = []
        self._last = _last_uses(graph.steps, graph.outputs)
        # the attributes above come first, so that no child takes the name of one
        self._places = {path: self._placed(path, layer) for path, layer in layers.items()}
        for value, (name, parameter) in (parameters or {}).items():
            self.held[value] = self._hold(name, parameter)

    def _placed(self, path: str, layer: nn.Module) -> str:
        placed = place(self, path, layer)
        if placed != path:
            self.names[placed] = path
        return placed

    def _hold(self, name: str, tensor: Tensor) -> str:
        """Register a parameter or a buffer under a dotted name, and say under which name it is found."""
        path, _, last = name.rpartition(".")
        owner = self
        if path:
            placed = self._places.get(path) or self._placed(path, nn.Module())
            self._places[path] = placed
            owner = self.get_submodule(placed)
        last = last or "_"
        while hasattr(owner, last) and getattr(owner, last) is not tensor:
            last += "_"
        if isinstance(tensor, nn.Parameter):
            owner.register_parameter(last, tensor)
        else:
            owner.register_buffer(last, tensor)
        return f"{self._places[path]}.{last}" if path else last

    @property
    def runs(self) -> bool:
        """Whether every operation is known."""
        return not self.unknown

    @contextmanager
    def watched(self, watch: Callable[[Step, Sequence[Any]], None]) -> Iterator[None]:
        """While this lasts, a function sees every step and what it takes, before it is made."""
        self._watches.append(watch)
        try:
            yield
        finally:
            self._watches.remove(watch)

    def forward(self, *given: Any, **named: Any) -> Any:
        """Run the steps on the inputs, given in order or by name.

        Raises:
            ValueError: an operation is not known, or the inputs are others, or of other shapes than it runs on.
        """
        if self.unknown:
            raise ValueError(f"the graph cannot be run: {'; '.join(self.unknown)}.")
        inputs = self._inputs(given, named)
        try:
            return self._run(inputs)
        except FOREIGN_FAULTS as fault:
            misfits = [text for name, value in inputs.items() if (text := self._misfit(name, value))]
            if not misfits:
                raise
            raise ValueError(f"{'; '.join(misfits)}; give that. The graph failed: {fault}") from fault

    def _run(self, inputs: dict[str, Any]) -> Any:
        values: dict[str, Any] = self._constants(tuple(inputs.values())) | inputs
        values.update((name, self._numbers(held)) for name, held in self.held.items())
        for step in self.graph.steps:
            taken = [values[name] if name else None for name in step.inputs]
            for watch in self._watches:
                watch(step, taken)
            made = self._made(step, taken)
            results = made if isinstance(made, tuple) else (made,)
            values.update((name, value) for name, value in zip(step.outputs, results, strict=False) if name)
            for name in self._last.get(step, ()):
                values.pop(name, None)
        found = tuple(values[name] for name in self.graph.outputs)
        return found[0] if len(found) == 1 else found

    def _inputs(self, given: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        inputs = self.graph.inputs
        strange = [name for name in named if name not in inputs[len(given) :]]
        if strange or len(given) + len(named) != len(inputs):
            words = f"{len(given) + len(named)} inputs came" + (f", {strange[0]!r} among them" if strange else "")
            raise ValueError(f"{words}; the graph takes {len(inputs)}: {', '.join(inputs)}.")
        return {**dict(zip(inputs, given, strict=False)), **named}

    def _misfit(self, name: str, value: Any) -> str:
        """In words, how an input differs from what the file declares beside the number of examples; '' if not."""
        declared = self.graph.shapes.get(name)
        if declared is None or not isinstance(value, Tensor):
            return ""
        pairs = zip(value.shape[1:], declared[1:], strict=False)
        if value.ndim == len(declared) and all(known in (None, n) for n, known in pairs):
            return ""
        words = "x".join("?" if n is None else str(n) for n in declared)
        return f"input {name!r} came as {'x'.join(map(str, value.shape))}, the file declares {words}"

    def _constants(self, given: tuple[Any, ...]) -> dict[str, Any]:
        """The constants, real numbers on the device of the inputs; whole ones steer operations from the CPU."""
        device = next((x.device for x in given if isinstance(x, Tensor)), None)
        known = dict(self.graph.constants)
        if device is None or device.type == "cpu":
            return known
        return {name: x.to(device) if x.is_floating_point() else x for name, x in known.items()}

    def _numbers(self, name: str) -> Tensor:
        path, _, last = name.rpartition(".")
        return getattr(self.get_submodule(path), last)

    def _made(self, step: Step, taken: list[Any]) -> Any:
        if step.module:
            return self.get_submodule(self._places[step.module])(*taken, **step.attributes)
        return operation_named(step.operation)(*taken, **step.attributes)


def _last_uses(steps: Sequence[Step], outputs: Sequence[str]) -> dict[Step, tuple[str, ...]]:
    """After which step a value is needed no more, so that a long graph does not keep all of them."""
    last: dict[str, Step] = {}
    for step in steps:
        last.update((name, step) for name in (*step.inputs, *step.outputs) if name)
    freed: dict[Step, tuple[str, ...]] = {}
    for name, step in last.items():
        if name not in outputs:
            freed[step] = (*freed.get(step, ()), name)
    return freed
