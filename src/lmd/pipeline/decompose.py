"""The order of work: a model in, an atlas out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import version
from math import prod
from pathlib import Path
from platform import python_version
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from lmd.activations.activations import Activations, capture
from lmd.activations.input_sizes import sized
from lmd.atlas.atlas import Atlas, layer_file
from lmd.atlas.folder import read_record, write_tensors
from lmd.atlas.layer_record import LayerRecord, Stored
from lmd.atlas.resuming import checked_folder, prepare
from lmd.atlas.stored import PENDING
from lmd.engines.local import Engine, Local
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.differences import Unpaired
from lmd.layers.walk import Walk, walk
from lmd.linalg.progress import listening
from lmd.pipeline.base import against_base
from lmd.pipeline.coupling import coupled, with_coupling
from lmd.pipeline.layer_task import LayerTask, record_of
from lmd.pipeline.options import Options
from lmd.sources.checksum import sha256_of_tensors
from lmd.sources.coverage import UNCHOSEN, Coverage, coverage_of
from lmd.sources.network import Network
from lmd.sources.open_network import open_network
from lmd.sources.runnable import runnable

__all__ = ["decompose"]

Progress = Callable[[int, int, str], None]


def decompose(  # noqa: PLR0913 - the documented options of the main call, keyword-only
    model: nn.Module | str | Path,
    data: Tensor | None = None,
    *,
    base: nn.Module | str | Path | None = None,
    labels: Tensor | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    builder: str | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    facts: Mapping[str, Any] | None = None,
    name: str = "",
    picture: tuple[int, int] | None = None,
    **options: Any,
) -> Atlas:
    """Decompose every layer of a trained network.

    Args:
        model: a live module, a file, a Hugging Face folder, or a Hub name ``owner/name[@revision]``.
        base: another model of the same structure: the rows are then ``W - W_base``, layer by layer; of an adapter, the
            model that it changes.
        data: examples to run through the network, ``(n, ...)``; only for networks that run.
        labels: class of each example, for pictures.
        out: folder for the atlas; each layer is written as soon as it is done.
        resume: go on with an interrupted run in ``out``; its weights, options and version must be the same.
        force: replace an atlas in ``out``.
        builder: ``FILE.py:FUNCTION``, the user's own function that returns the module for a bare checkpoint. The only
            code that is ever run, because it was asked for.
        engine: where the work runs; this process by default.
        progress: called with (layers done, layers in all, name of the last), and from the middle of a long layer with
            (layers done, layers in all, how far that one got).
        facts: what the caller knows about the network, to be kept beside what the file tells.
        name: what to call the network; its file or class by default.
        picture: height and width, when the inputs are pictures: the page then draws directions as pictures.
        **options: the fields of ``Options``.

    Returns:
        The atlas; layers that failed are in it with their reason.

    Raises:
        TypeError: ``model`` or ``data`` is of another type.
        UnreadableModelError: the model cannot be read.
        UnsafeModelError: reading it would run code.
        ValueError: options contradict each other or the model, or ``resume`` does not fit.
        FileExistsError: ``out`` holds an atlas already.
        OSError: ``out`` cannot be written.

    Example:
        >>> import torch, lmd
        >>> atlas = lmd.decompose(torch.nn.Linear(3, 2))
        >>> [row["name"] for row in atlas.rows()]
        ['weight']
    """
    _refuse_types(model, data, labels, builder)
    chosen = Options(**options)
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), perf_counter()
    folder = checked_folder(out, resume=resume, force=force)
    network = open_network(model, kinds=chosen.kinds, builder=builder)
    if chosen.parts or chosen.input_shape is not None:
        network = sized(network, data, chosen.input_shape)
    network = replace(network, name=name or network.name, wishes=chosen.wishes)
    found, other = against_base(walk(network), network, base)
    layers = _selected(found.layers, chosen.layers)
    seen = _activations(network, layers, data, labels)
    tasks = [LayerTask(layer, chosen, seen.get(layer.name)) for layer in layers]
    provenance = {**_provenance(network, chosen, started), "builder": builder, "base": other}
    provenance["data"] = _fingerprint(data, labels)
    head = Atlas(
        _described(network, picture),
        _planned(network, found, layers),
        (),
        provenance,
        {**network.facts, **(facts or {})},
        complete=False,
    )
    if folder:
        prepare(folder, head, [layer.name for layer in layers], resume=resume)
    results = (
        coupled((engine or Local()).map(record_of, tasks)) if not folder else _saved(folder, tasks, engine or Local())
    )
    records = tuple(_watched(results, len(tasks), progress))
    took = {**provenance, "seconds": round(perf_counter() - clock, 3)}
    atlas = replace(
        head, coverage=_coverage(network, found, layers, records), layers=records, provenance=took, complete=True
    )
    if folder:
        atlas.write_index(folder)
    return atlas


def _selected(layers: tuple[LayerMatrix, ...], glob: str) -> tuple[LayerMatrix, ...]:
    chosen = tuple(layer for layer in layers if fnmatchcase(layer.name, glob))
    if layers and not chosen:
        some = ", ".join(layer.name for layer in layers[:4])
        raise ValueError(f"layers={glob!r} fits none of the {len(layers)} layers; names look like {some}.")
    return chosen


def _described(network: Network, picture: tuple[int, int] | None) -> dict[str, Any]:
    known = {"name": network.name, "source": network.source, "sha256": network.sha256, "dtype": network.dtype}
    return known if picture is None else {**known, "picture": list(picture)}


def _provenance(network: Network, options: Options, started: str) -> dict[str, Any]:
    versions = {name: version(name) for name in ("torch", "numpy", "scipy")}
    return {
        "lmd": version("lmd"),
        **versions,
        "python": python_version(),
        "seed": options.seed,
        "threads": torch.get_num_threads(),
        "options": asdict(options),
        "started": started,
    }


def _activations(
    network: Network, layers: Iterable[LayerMatrix], data: Tensor | None, labels: Tensor | None
) -> dict[str, Activations]:
    if data is None:
        return {}
    model = runnable(network)
    if labels is not None and len(labels) != len(data):
        raise ValueError(f"labels has {len(labels)} entries, data {len(data)} examples; give one label for each.")
    # a network that is one layer has the empty path, which is no name
    linear = {path or "weight": path for path, m in network.skeleton.named_modules() if isinstance(m, nn.Linear)}
    # a map of what comes into the normalisation before the layer is asked about other inputs than the layer's own
    rows = {linear[layer.name]: layer for layer in layers if layer.name in linear and layer.own_inputs}
    found = capture(model, data, labels, list(rows))
    return {rows[seen.layer].name: _with_constant(seen, rows[seen.layer]) for seen in found}


def _with_constant(seen: Activations, layer: LayerMatrix) -> Activations:
    """The inputs with the constant 1 that a map with its bias folded in reads last."""
    if seen.inputs.ndim != 2 or layer.shape[1] != seen.inputs.shape[1] + 1:
        return seen
    return replace(seen, inputs=torch.cat([seen.inputs, seen.inputs.new_ones(len(seen.inputs), 1)], dim=1))


def _refuse_types(model: object, data: object, labels: object, builder: str | None) -> None:
    if not isinstance(model, nn.Module | str | Path):
        raise TypeError(
            f"model is of type {type(model).__name__}; give a torch.nn.Module, a path or a Hub name (a state dict: "
            f"save it with torch.save, or load it into its module)."
        )
    for name, given in (("data", data), ("labels", labels)):
        if given is not None and not isinstance(given, Tensor):
            raise TypeError(
                f"{name} is of type {type(given).__name__}; give one torch.Tensor, examples along its first axis."
            )
    if labels is not None and data is None:
        raise ValueError("labels came without data; give the examples that they belong to as data.")
    if builder is not None and isinstance(model, nn.Module):
        raise ValueError(f"builder={builder!r} is for bare checkpoints; the model is a module already; leave it out.")


def _fingerprint(data: Tensor | None, labels: Tensor | None) -> str | None:
    given = {name: tensor for name, tensor in (("data", data), ("labels", labels)) if tensor is not None}
    return sha256_of_tensors(given) if given else None


def _watched(records: Iterable[LayerRecord], total: int, progress: Progress | None) -> Iterator[LayerRecord]:
    if progress is None:
        yield from records
        return
    count = 0

    def tell(text: str) -> None:
        progress(count, total, text)

    following = iter(records)
    while True:
        # not around the yield: what is told is for this thread alone
        with listening(tell):
            record = next(following, None)
        if record is None:
            return
        count += 1
        progress(count, total, record.name)
        yield record


def _coverage(
    network: Network, found: Walk, layers: tuple[LayerMatrix, ...], records: tuple[LayerRecord, ...]
) -> Coverage:
    pairs = [(layer, record) for layer, record in zip(layers, records, strict=True) if layer.view_of is None]
    done = _sizes(layer for layer, record in pairs if not (record.failed or isinstance(layer, Unpaired)))
    whole = _sizes(layer for layer in found.layers if layer.view_of is None)
    shares = {name: size / whole[name] if whole[name] else 1.0 for name, size in done.items()}
    unpaired = {
        name: layer.reason for layer, _ in pairs if isinstance(layer, Unpaired) for name in layer.loader.tensors
    }
    failed = {name: record.entry["reason"] for _, record in pairs if record.failed for name in record.entry["tensors"]}
    return coverage_of(network.records, shares, {**found.reasons, **_left_out(found, layers), **unpaired}, failed)


def _sizes(layers: Iterable[LayerMatrix]) -> dict[str, int]:
    """Tensor name to the number of its entries inside these layers."""
    sizes: dict[str, int] = {}
    for layer in layers:
        for name in layer.loader.tensors:
            sizes[name] = sizes.get(name, 0) + prod(layer.loader.shape)
    return sizes


def _planned(network: Network, found: Walk, layers: tuple[LayerMatrix, ...]) -> Coverage:
    """The account before any layer is done."""
    pending = {name: PENDING for layer in layers if layer.view_of is None for name in layer.loader.tensors}
    return coverage_of(network.records, {}, {**_left_out(found, layers), **found.reasons, **pending})


def _left_out(found: Walk, layers: tuple[LayerMatrix, ...]) -> dict[str, str]:
    chosen = {id(layer) for layer in layers}
    others = (layer for layer in found.layers if id(layer) not in chosen)
    return {name: UNCHOSEN for layer in others for name in layer.loader.tensors}


def _saved(folder: Path, tasks: list[LayerTask], engine: Engine) -> Iterator[LayerRecord]:
    paths = [folder / layer_file(index, task.layer.name) for index, task in enumerate(tasks)]
    done = {path: entry for path in paths if (entry := read_record(path)) is not None}
    fresh = iter(engine.map(record_of, [task for path, task in zip(paths, tasks, strict=True) if path not in done]))
    before: list[LayerRecord] = []
    for path in paths:
        entry = done.get(path)
        if entry is None:
            record = with_coupling(next(fresh), before)
            write_tensors(path, record.arrays(), record.entry)
            entry = record.entry
        before.append(LayerRecord(entry, Stored(path)))
        yield before[-1]
