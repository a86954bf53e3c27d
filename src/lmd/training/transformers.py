"""The Recorder as a callback of Hugging Face's Trainer, which asks for names alone; transformers is not imported."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmd.training.recorder import Recorder

__all__ = ["TransformersHooks"]


class TransformersHooks:
    """Records after each step of the optimiser, and notes the loss when it is logged. Made by ``for_transformers``."""

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Record where the training starts, or goes on."""
        self._step(state, given)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Record the step if it is one to record."""
        self._step(state, given)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Note what was logged about a recorded step."""
        self.recorder.note(state.global_step, **{name: value for name, value in (logs or {}).items() if name != "step"})

    def _step(self, state: Any, given: Mapping[str, Any]) -> None:
        if not getattr(state, "is_world_process_zero", True) or given.get("model") is None:
            return
        epoch = getattr(state, "epoch", None)
        self.recorder.step(given["model"], state.global_step, **({} if epoch is None else {"epoch": epoch}))

    def __getattr__(self, name: str) -> Any:
        """The Trainer calls every event of its own by name; those that mean nothing here do nothing."""
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; it answers events of a Trainer, on_...")


def _nothing(*_: Any, **__: Any) -> None:
    return None
