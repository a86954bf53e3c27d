"""The cheap findings of every layer, every few steps of a training."""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import process_time, time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lmd.atlas.folder import read_tensors, write_tensors
from lmd.atlas.trajectory import Trajectory
from lmd.layers.layer_matrix import LayerMatrix
from lmd.training.journal import JOURNAL_FILE, SCHEMA_VERSION, append, read_journal
from lmd.training.recorded import as_trajectory
from lmd.training.snapshot import layers_of_module, snapshot

if TYPE_CHECKING:
    from lmd.training.lightning import LightningHooks
    from lmd.training.transformers import TransformersHooks

__all__ = ["Recorder"]

_START_FILE = "start.safetensors"


class Recorder:
    """Records spectral norm, ranks, spikes and the change since the start of each layer, every few steps.

    The module is only read: no gradient, mode, hook, buffer or state of random numbers is touched. What cannot be
    written to disk is kept in memory with a warning: a training does not end for want of a record.

    Args:
        folder: where to write; None keeps all in memory. A folder that holds a record goes on.
        every: record each step that this divides, and step 0.
        layers: glob of layer names.
        change: keep a copy of the layers at the start, to tell how far each has moved from there.

    Raises:
        ValueError: ``every`` is below 1.

    >>> import torch, lmd
    >>> model = torch.nn.Linear(4, 3)
    >>> recorder = lmd.Recorder(every=2)
    >>> for step in range(5):
    ...     _ = recorder.step(model, step)
    >>> [step["step"] for step in recorder.trajectory().trajectory["steps"]]
    [0, 2, 4]
    """

    def __init__(
        self, folder: str | Path | None = None, *, every: int = 100, layers: str = "*", change: bool = True
    ) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every={every!r} must be a whole number of steps, at least 1; leave it out for 100.")
        self.folder = None if folder is None else Path(folder)
        self.every = every
        self.layers = layers
        self.seconds = 0.0
        """CPU seconds that recording took so far."""
        self._change = change
        self._head: dict[str, Any] = {}
        self._steps: dict[int, dict[str, Any]] = {}
        self._start: dict[str, Tensor] = {}
        self._rows: tuple[LayerMatrix, ...] = ()
        self._seen: tuple[int, ...] = ()
        self._last = -1
        if self.folder is not None:
            self._resume(self.folder)

    def step(self, model: nn.Module, step: int | None = None, **told: float) -> bool:
        """Call after each step of the optimiser; most calls do nothing.

        Args:
            model: the module that is trained; wrappers for data parallelism and compilation are looked through.
            step: its number; the one after the last by default.
            **told: what else to note of the step: ``epoch``, ``loss``.

        Returns:
            Whether the step was recorded.
        """
        self._last = self._last + 1 if step is None else step
        if self._last % self.every or not _is_first_process():
            return False
        self.record(model, self._last, **told)
        return True

    def record(self, model: nn.Module, step: int, **told: float) -> None:
        """Record this step, whatever its number."""
        began = process_time()
        rows = self._rows_of(model)
        if not self._head:
            self._begin(model, rows)
        entry = {"step": step, "time": round(time(), 3), **_numbers(told)}
        entry["layers"] = snapshot(rows, self._start)
        self._steps[step] = entry
        self._write(entry)
        self.seconds += process_time() - began

    @property
    def last_step(self) -> int:
        """Number of the last step that was told, recorded or not; -1 before the first."""
        return self._last

    def note(self, step: int, **told: float) -> None:
        """Add numbers, such as the loss, to a step that was recorded; others are forgotten."""
        if step in self._steps and _numbers(told):
            self._steps[step] = {**self._steps[step], **_numbers(told)}
            self._write(self._steps[step])

    def trajectory(self) -> Trajectory:
        """What was recorded so far, in the form that ``lmd.compare`` gives."""
        return as_trajectory(self._head, [self._steps[step] for step in sorted(self._steps)])

    def for_lightning(self) -> "LightningHooks":
        """A callback for Lightning's Trainer; Lightning must be imported already, as it is to build a Trainer."""
        from lmd.training.lightning import lightning_hooks

        return lightning_hooks(self)

    def for_transformers(self) -> "TransformersHooks":
        """A callback for the Trainer of Hugging Face."""
        from lmd.training.transformers import TransformersHooks

        return TransformersHooks(self)

    def _rows_of(self, model: nn.Module) -> tuple[LayerMatrix, ...]:
        """The rows read live parameters: they are looked for again only when these are other objects."""
        seen = (id(model), *map(id, model.parameters()))
        if seen != self._seen:
            self._rows, self._seen = layers_of_module(model, self.layers), seen
        return self._rows

    def _begin(self, model: nn.Module, rows: tuple[LayerMatrix, ...]) -> None:
        named = [{"name": row.name, "kind": row.kind, "shape": list(row.shape)} for row in rows]
        self._head = {
            "schema_version": SCHEMA_VERSION,
            "model": type(model).__name__,
            "lmd": version("lmd"),
            "torch": torch.__version__,
            "every": self.every,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "layers": named,
        }
        if self._change:
            with torch.no_grad():
                self._start = {row.name: row.load().detach().to("cpu", copy=True) for row in rows}
        self._write(self._head)
        if self.folder is not None and self._start:
            try:
                write_tensors(self.folder / _START_FILE, self._start, {})
            except OSError as fault:
                _warn(self.folder, fault)

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            append(self.folder, entry)
        except OSError as fault:
            _warn(self.folder, fault)

    def _resume(self, folder: Path) -> None:
        if not (folder / JOURNAL_FILE).is_file():
            return
        self._head, steps = read_journal(folder)
        self._steps = {step["step"]: step for step in steps}
        self._last = max(self._steps, default=-1)
        if self._change and (folder / _START_FILE).is_file():
            self._start = dict(read_tensors(folder / _START_FILE))


def _warn(folder: Path, fault: OSError) -> None:
    why = fault.strerror or fault
    warnings.warn(f"{folder} cannot be written ({why}); the record goes on in memory alone.", stacklevel=4)


def _numbers(told: Mapping[str, Any]) -> dict[str, float]:
    """Plain finite numbers; a loss that is a tensor counts as its number."""
    found: dict[str, float] = {}
    for name, value in told.items():
        number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < float("inf"):
            found[name] = number
    return found


def _is_first_process() -> bool:
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
