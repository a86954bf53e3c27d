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

from lmd.activations.input_sizes import sized
from lmd.activations.observing.losses import LossName
from lmd.atlas.atlas import Atlas, layer_file
from lmd.atlas.folder import read_record, write_tensors
from lmd.atlas.layer_record import LayerRecord, Stored
from lmd.atlas.resuming import checked_folder, prepare
from lmd.atlas.stored import PENDING
from lmd.data.examples import Examples
from lmd.data.open_data import open_data
from lmd.engines.local import Engine, Local
from lmd.layers.initialised.law import InitialLaw
from lmd.layers.initialised.usual import usual_law
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.differences import Unpaired
from lmd.layers.walk import Walk
from lmd.linalg.progress import listening
from lmd.pipeline.base import against_base
from lmd.pipeline.coupling import coupled, with_coupling
from lmd.pipeline.fitting import fitted
from lmd.pipeline.layer_task import LayerTask, record_of
from lmd.pipeline.on_data import SeenOnData, network_findings, seen_on_data
from lmd.pipeline.options import Options
from lmd.sources.checksum import sha256_of_tensors
from lmd.sources.coverage import UNCHOSEN, Coverage, coverage_of
from lmd.sources.network import Network
from lmd.sources.open_network import open_network

__all__ = ["decompose"]

Progress = Callable[[int, int, str], None]


def decompose(  # noqa: PLR0913 - the documented options of the main call, keyword-only
    model: nn.Module | str | Path,
    data: Any = None,
    *,
    base: nn.Module | str | Path | None = None,
    targets: Any = None,
    labels: Tensor | None = None,
    loss: LossName | None = None,
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
        data: examples to run through the network, only for networks that run: a tensor ``(n, ...)``, what
            ``lmd.open_data`` returns, or anything that it opens.
        targets: what the network should say of each example, a class or numbers: a tensor, an array or a file; of data
            that ``lmd.open_data`` opened they are with the data.
        labels: class of each example for pictures, where it is not the target.
        loss: ``cross_entropy`` or ``mse``, whose gradients the layers see; found out from the targets by default.
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
        UnreadableDataError: the data cannot be read.
        UnsafeDataError: reading them would run code or fill the memory.
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
    if loss not in (None, "cross_entropy", "mse"):
        raise ValueError(f"loss={loss!r} must be cross_entropy or mse; leave it out to go by the targets' type.")
    chosen = Options(**options)
    examples = _opened(data, targets, labels)
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), perf_counter()
    folder = checked_folder(out, resume=resume, force=force)
    network = open_network(model, kinds=chosen.kinds, builder=builder)
    if examples is not None:
        examples = fitted(examples, network, chosen.input_shape)
    if chosen.parts or chosen.input_shape is not None:
        network = sized(network, None if examples is None else examples.head(1).inputs, chosen.input_shape)
    network = replace(network, name=name or network.name, wishes=chosen.wishes)
    found, network, other = against_base(network, base)
    layers = _selected(found.layers, chosen.layers)
    seen = seen_on_data(network, layers, examples, labels=labels, loss=loss, seed=chosen.seed, tell=progress)
    tasks = [_task(one, chosen, network, seen) for one in layers]
    provenance = {**_provenance(network, chosen, started), "builder": builder, "base": other}
    provenance["data"] = None if examples is None else _described_data(examples, labels)
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
        head,
        coverage=_coverage(network, found, layers, records),
        layers=records,
        provenance=took,
        whole=network_findings(seen, records, whole=len(layers) == len(found.layers)),
        complete=True,
    )
    if folder:
        atlas.write_index(folder)
    return atlas


def _task(layer: LayerMatrix, options: Options, network: Network, seen: SeenOnData) -> LayerTask:
    """A layer with what is known of it beside its weights."""
    given, why, law = seen.given.get(layer.name, {}), seen.why.get(layer.name, {}), usual_law(layer, network)
    if isinstance(law, str):
        return LayerTask(layer, options, given, {**why, InitialLaw: law})
    return LayerTask(layer, options, {**given, InitialLaw: law}, why)


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


def _refuse_types(model: object, data: object, labels: object, builder: str | None) -> None:
    if not isinstance(model, nn.Module | str | Path):
        raise TypeError(
            f"model is of type {type(model).__name__}; give a torch.nn.Module, a path or a Hub name (a state dict: "
            f"save it with torch.save, or load it into its module)."
        )
    if labels is not None and not isinstance(labels, Tensor):
        raise TypeError(f"labels is of type {type(labels).__name__}; give one torch.Tensor, an entry for each example.")
    if labels is not None and data is None:
        raise ValueError("labels came without data; give the examples that they belong to as data.")
    if builder is not None and isinstance(model, nn.Module):
        raise ValueError(f"builder={builder!r} is for bare checkpoints; the model is a module already; leave it out.")


def _opened(data: Any, targets: Any, labels: Tensor | None) -> Examples | None:
    if data is None:
        if targets is not None:
            raise ValueError("targets came without data; give the examples that they belong to as data.")
        return None
    if targets is not None and isinstance(data, Examples):
        raise ValueError("targets came with data that are open already; give them to open_data.")
    examples = open_data(data) if targets is None else open_data(data, targets=targets)
    if labels is not None and len(labels) != examples.count:
        raise ValueError(f"labels has {len(labels)} entries, data {examples.count} examples; give one label for each.")
    return examples


def _described_data(examples: Examples, labels: Tensor | None) -> dict[str, Any]:
    known = examples.described()
    return known if labels is None else {**known, "labels": sha256_of_tensors({"labels": labels})}


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
