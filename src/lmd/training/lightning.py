"""The Recorder as a callback of Lightning's Trainer; Lightning is never imported from here."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmd.training.recorder import Recorder

__all__ = ["LightningHooks", "lightning_hooks"]

_HOMES = ("lightning.pytorch", "pytorch_lightning")


class LightningHooks:
    """Records at the start and after each batch. Made by ``for_lightning``."""

    def __init__(self, recorder: "Recorder") -> None:
        super().__init__()
        self.recorder = recorder

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Record where the training starts, or goes on."""
        self._step(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the step if it is one to record; batches whose gradients are only gathered are no steps."""
        if trainer.global_step == self.recorder.last_step:
            return
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self._step(trainer, pl_module, **({} if loss is None else {"loss": loss}))

    def _step(self, trainer: Any, pl_module: Any, **told: Any) -> None:
        if getattr(trainer, "is_global_zero", True):
            self.recorder.step(pl_module, trainer.global_step, epoch=trainer.current_epoch, **told)


def lightning_hooks(recorder: "Recorder") -> LightningHooks:
    """A callback of the class that the loaded Lightning asks for, or a plain one where none is loaded.

    Current versions of Lightning accept only what derives from their own class.
    """
    bases = [home.Callback for name in _HOMES if (home := sys.modules.get(name)) is not None]
    # of two that are loaded both may be asked
    own = tuple(dict.fromkeys(base for base in bases if isinstance(base, type)))
    return type("LightningHooks", (LightningHooks, *own), {"__doc__": LightningHooks.__doc__})(recorder)
