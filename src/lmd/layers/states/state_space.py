"""State-space blocks: how fast each state forgets, what is written into the states and read from them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from lmd.layers.convolutions.pooled import as_computed
from lmd.layers.layer_matrix import LayerMatrix, as_stored
from lmd.layers.registry import claims, join
from lmd.layers.states.decays import STEPS, DecayForm, decay_form, of_one_step
from lmd.layers.states.diagonal_states import (
    DiagonalStates,
    SteppedStates,
    read_by_pairs,
    turned_by_pairs,
    written_by_pairs,
)
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["state_space"]

_WRITES, _READS = ("B", "B_re", "B_real", "P"), ("C", "C_re", "C_real", "W")
_IMAGINARY = {"B_re": "B_im", "B_real": "B_imag", "C_re": "C_im", "C_real": "C_imag"}


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A state-space block at work: its own tensors, its decay and the shape of its states."""

    path: str
    form: DecayForm
    own: dict[str, Loader]
    is_complex: dict[str, bool]

    @property
    def states(self) -> tuple[int, ...]:
        shape = self.own[self.form.names[0]].shape
        paired = self.form.names == ("Lambda",) and not self.is_complex["Lambda"]
        return shape[:-1] if paired else shape

    @property
    def count(self) -> int:
        return prod(self.states)

    @property
    def parts(self) -> int:
        return 2 if self.form.is_complex else 1


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    # a library may keep what it does not train as buffers
    return {**dict(module.named_buffers(recurse=False)), **dict(module.named_parameters(recurse=False))}


def _forgets(module: nn.Module) -> bool:
    """A module that owns ``A_log``, ``log_A_real`` and ``A_imag``, ``nu_log``, ``recurrent_param``, ``time_decay``."""
    own = _own_tensors(module)
    form = decay_form(own)
    if form is None or any(own[name].is_complex() and form.names != ("Lambda",) for name in form.names):
        return False
    if form.names == ("Lambda",):
        # the name is used for other things too: these come with a step
        return bool(set(STEPS) & set(own)) and (own["Lambda"].is_complex() or own["Lambda"].shape[-1:] == (2,))
    return len({own[name].shape for name in form.names}) == 1


@claims(_forgets)
def state_space(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The decay as the diagonal map it is to all states, for complex states on their real and imaginary parts.

    In ``h' = A h + B x`` each state decays by itself: ``A`` are rates per unit of time, and a step of length ``dt``
    multiplies by ``exp(dt A)``, its own row where the step is stored. ``B`` writes into the states, ``C`` reads the
    real part of what it makes of them, ``D`` passes by. Projections and convolutions are layers of their own.
    """
    tensors = _own_tensors(module)
    form = decay_form(tensors)
    assert form is not None
    loaders = {name: network.loaders.get(join(path, name)) for name in tensors}
    own = {name: loader for name, loader in loaders.items() if loader is not None}
    block = _Block(path, form, own, {name: tensor.is_complex() for name, tensor in tensors.items()})
    decay = _decay(block, network)
    yield decay
    yield from _step(block, network, decay.name)
    for name in (*_WRITES, *_READS):
        yield from _map(block, name)
    yield from _gains(block)
    yield from _passing(block)
    yield from _gates(block, network)


def _decay(block: _Block, network: Network) -> LayerMatrix:
    form, count = block.form, block.count
    parts = tuple(network.loader(join(block.path, name)) for name in form.names)
    size = (count, 2, 2) if form.is_complex else (count,)
    loader = Combined(partial(_diagonal, function=form.function), parts, size)
    stored = " x ".join(map(str, block.states))
    unit = "" if form.per_step else ": rates per unit of time"
    of_heads = form.names == ("A_log",) and len(block.states) == 1
    count_text = f"one for all states of each of {count} heads" if of_heads else f"{stored} states"
    notes = [f"{form.formula}, {count_text}{unit}"]
    if form.is_complex:
        notes.append("on the real and imaginary part of each state")
    if "P" in block.own:
        notes.append("the diagonal part: P P* is taken from it")
    name = "decay" if form.per_step else "A"
    return _states(block, name, loader, "; ".join(notes), stepped=form.per_step)


def _states(
    block: _Block, name: str, loader: Loader, note: str, *, stepped: bool, view_of: str | None = None
) -> LayerMatrix:
    kind = SteppedStates if stepped else DiagonalStates
    groups = loader.shape[0]
    width = groups * block.parts
    others = () if block.form.confidence != "guess" else ("other formulas",)
    return kind(
        join(block.path, name),
        "diagonal",
        (width, width),
        loader,
        as_computed,
        groups,
        view_of,
        block.form.confidence,
        others,
        note,
    )


def _diagonal(*tensors: Tensor, function: Callable[..., Tensor]) -> Tensor:
    return turned_by_pairs(function(*tensors))


def _step(block: _Block, network: Network, of: str) -> Iterator[LayerMatrix]:
    """What a step of the stored length does, as a view of the rates, and that length."""
    name = next((name for name in STEPS if name in block.own), "")
    if not name or block.form.per_step:
        return
    steps = block.own[name]
    width = prod(steps.shape)
    shared = len(block.states) == 1
    each_state = shared and name == "log_step" and width == block.count
    if network.wishes.parts and (shared or width == block.states[0]):
        count = width * block.count if shared and not each_state else block.count
        parts = (*(block.own[n] for n in block.form.names), steps)
        function = partial(of_one_step, form=block.form, each_state=each_state)
        size = (count, 2, 2) if block.form.is_complex else (count,)
        loader = Combined(partial(_diagonal, function=function), parts, size)
        note = f"exp(dt A), dt = exp({name}): what one step multiplies each state by"
        yield _states(block, "step", loader, note, stepped=True, view_of=of)
    note = f"exp({name}): the length of a step"
    yield LayerMatrix(join(block.path, "dt"), "diagonal", (width, width), steps, _exponential, width, note=note)


def _exponential(tensor: Tensor) -> Tensor:
    return torch.exp(tensor.double()).flatten()


def _map(block: _Block, name: str) -> Iterator[LayerMatrix]:
    """``B`` or ``C`` of complex states as the real map it is, whatever way its numbers are stored."""
    writes = name in _WRITES
    imaginary = _IMAGINARY.get(name)
    if name not in block.own or not block.form.is_complex or (imaginary and imaginary not in block.own):
        return
    loaders = (block.own[name], *([block.own[imaginary]] if imaginary else []))
    if any(loader.shape != loaders[0].shape for loader in loaders):
        return
    paired = imaginary is None and not block.is_complex[name]
    shape = loaders[0].shape
    if paired and shape[-1:] != (2,):
        return
    shape = shape[:-1] if paired else shape
    scale = block.own.get("gamma_log") if writes else None
    size = _size(block.states, shape, writes=writes)
    if size is None:
        return
    if scale is not None and size[0] == 1:
        loaders = (*loaders, scale)
    function = partial(_real_map, paired=paired, split=imaginary is not None, writes=writes, form=block.form, size=size)
    groups, out, inn = size
    row = join(block.path, name[0])
    note = _about(block, name[0], writes=writes, scaled=len(loaders) > 1 + (imaginary is not None), channels=groups)
    yield LayerMatrix(
        row, "dense", (groups * out, groups * inn), Combined(function, loaders, size), as_computed, groups, note=note
    )


def _size(states: tuple[int, ...], shape: tuple[int, ...], *, writes: bool) -> tuple[int, int, int] | None:
    """Groups, outputs and inputs of the real map; None where the shapes fit no known use."""
    if len(states) == 1 and len(shape) == 2 and states[0] == shape[0 if writes else 1]:
        return (1, 2 * shape[0], shape[1]) if writes else (1, shape[0], 2 * shape[1])
    if len(shape) < 2 or shape[-1] != states[-1]:
        return None
    if writes:
        # one column of all states for each copy
        return (shape[0], 2 * shape[1], 1) if len(shape) == 2 else None
    alike = shape[-2:] == states if len(states) == 2 else len(shape) == 3
    return (shape[-2], prod(shape[:-2]), 2 * shape[-1]) if alike else None


def _real_map(
    *tensors: Tensor, paired: bool, split: bool, writes: bool, form: DecayForm, size: tuple[int, int, int]
) -> Tensor:
    stored = list(tensors)
    first = stored.pop(0)
    if split:
        numbers = torch.complex(first.double(), stored.pop(0).double())
    else:
        numbers = torch.view_as_complex(first.double().contiguous()) if paired else first.to(torch.complex128)
    if stored:
        numbers = numbers * torch.exp(stored.pop().double()).reshape(-1, 1)
    if writes:
        written = written_by_pairs(numbers[:, :, None] if size[2] == 1 and size[0] == len(numbers) else numbers)
        return written.reshape(size)
    read = read_by_pairs(numbers) * (2.0 if form.conjugates else 1.0)
    # of each channel: its outputs, from its own states
    return read.reshape(size) if size[0] == 1 else read.reshape(-1, *read.shape[-2:]).movedim(0, 1)


def _about(block: _Block, name: str, *, writes: bool, scaled: bool, channels: int) -> str:
    if name == "P":
        return "P, the real and imaginary parts of the rank-one part P P* that is taken from the diagonal A"
    if writes:
        text = "B, from the inputs to the real and imaginary part of each state, [Re; Im]"
        return f"{text}, times exp(gamma_log)" if scaled else text
    twice = "twice the real part: the conjugates of the states are not kept" if block.form.conjugates else "real part"
    text = f"{name}, what is read from the states, [Re, -Im]: {twice}"
    if channels > 1:
        text = f"{text}; each channel reads its own states"
    stepping = block.form.conjugates or name == "W"
    return f"{text}; before the factor of the discretisation, as (exp(dt A) - 1) / A" if stepping else text


def _gains(block: _Block) -> Iterator[LayerMatrix]:
    """The gain of what is written, where no ``B`` takes it; the weight that RWKV gives to the newest input."""
    for name, note in (
        ("gamma_log", "exp(gamma_log): the gain of what is written into each state"),
        ("time_first", "exp(time_first): how much more the newest input counts"),
    ):
        if name in block.own and not (name == "gamma_log" and any(n in block.own for n in _WRITES)):
            loader = block.own[name]
            width = prod(loader.shape)
            row = join(block.path, name.removesuffix("_log"))
            yield LayerMatrix(row, "diagonal", (width, width), loader, _exponential, width, note=note)


def _passing(block: _Block) -> Iterator[LayerMatrix]:
    loader = block.own.get("D")
    if loader is None or block.is_complex["D"]:
        return
    row, note = join(block.path, "D"), "what passes by the states"
    if len(loader.shape) == 2 and min(loader.shape) > 1:
        yield LayerMatrix(row, "dense", (loader.shape[0], loader.shape[1]), loader, note=note)
        return
    width = prod(loader.shape)
    yield LayerMatrix(row, "diagonal", (width, width), loader, as_stored, width, note=f"{note}, channel by channel")


def _gates(block: _Block, network: Network) -> Iterator[LayerMatrix]:
    """Gates of heads that each read their own channels, stored ``(heads, in, out)``."""
    for word in ("input_gate", "recurrent_gate"):
        loader, bias = block.own.get(f"{word}_weight"), block.own.get(f"{word}_bias")
        if loader is None or len(loader.shape) != 3:
            continue
        heads, inn, out = loader.shape
        yield LayerMatrix(
            join(block.path, word),
            "gate",
            (heads * out, heads * inn),
            loader,
            _each_transposed,
            heads,
            note=f"{heads} heads, each reads its own channels; stored (heads, in, out)",
            bias=bias if network.wishes.fold_bias else None,
        )


def _each_transposed(stack: Tensor) -> Tensor:
    return stack.mT
