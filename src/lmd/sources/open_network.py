"""Whatever a user brings, as a Network."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lmd.sources.adapter_names import adapters_among
from lmd.sources.adapter_scale import is_scale_told
from lmd.sources.archive import Archive
from lmd.sources.checksum import sha256_of_files
from lmd.sources.declared_architecture import declared_skeleton
from lmd.sources.find import read_archive
from lmd.sources.graph.graph_module import GraphModule
from lmd.sources.network import Network
from lmd.sources.parametrised import effective_loaders
from lmd.sources.reading import Reading, TensorRecord
from lmd.sources.recipes import Recipe
from lmd.sources.rules.read_names import read_names
from lmd.sources.skeleton import mark_complex, skeleton_of
from lmd.sources.torch_module import commonest_dtype, from_module
from lmd.sources.users_code import called, function_of

__all__ = ["open_network"]


def open_network(
    model: nn.Module | str | Path, *, kinds: Mapping[str, str] | None = None, builder: str | None = None
) -> Network:
    """Open a live module, a file, a Hugging Face folder or a Hub name ``owner/name[@revision]``.

    Args:
        model: what to open; an existing path goes before a Hub name.
        kinds: glob of module paths to kind, where a bare file allows several readings.
        builder: ``FILE.py:FUNCTION`` that returns the module for a bare checkpoint.

    Raises:
        UnreadableModelError: it cannot be read.
        UnsafeModelError: reading it would run code from it.
        ValueError: ``kinds`` or ``builder`` do not fit it.
    """
    if isinstance(model, nn.Module):
        _refuse_for_declared(kinds, "a live module")
        return from_module(model)
    path, archive = read_archive(str(model))
    if builder is not None:
        return _built(path, archive, builder)
    config = archive.facts.get("config")
    if isinstance(config, Mapping) and not kinds:
        origin = str(archive.facts.get("config from", "config.json"))
        declared = declared_skeleton(config, _shapes(archive), origin=origin)
        archive = replace(archive, facts={**archive.facts, "architecture": declared.reason})
        if declared.module is not None:
            return _declared(path, _in_its_names(archive, declared.recipes), declared.module, declared.tied)
    if archive.skeleton is not None:
        others = {glob: word for glob, word in (kinds or {}).items() if not re.fullmatch(r"heads:[1-9]\d*", word)}
        _refuse_for_declared(others, f"{path.name}, which holds its own graph,")
        return _graphed(path, _with_heads(archive, kinds), archive.skeleton)
    return _by_rules(path, archive, kinds)


def _shapes(archive: Archive) -> dict[str, tuple[int, ...]]:
    return {r.name: r.shape for r in archive.records if r.role in ("parameter", "buffer", "tied")}


def _in_its_names(archive: Archive, recipes: Mapping[str, Recipe]) -> Archive:
    """The archive with its tensors as the architecture names them, in their places in the file."""
    if not recipes:
        return archive
    by_name = {record.name: record for record in archive.records}
    first = {recipe.sources[0]: [] for recipe in recipes.values()}
    for name, recipe in recipes.items():
        first[recipe.sources[0]].append((name, recipe))
    used = {source for recipe in recipes.values() for source in recipe.sources}
    loaders = {name: loader for name, loader in archive.loaders.items() if name not in used}
    records: list[TensorRecord] = []
    for record in archive.records:
        if record.name not in used:
            records.append(record)
        for name, recipe in first.get(record.name, ()):
            loaders[name] = recipe.loader(name, archive.loaders)
            files = [by_name[source].file_name or source for source in recipe.sources]
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            records.append(replace(record, name=name, shape=loaders[name].shape, file_name=f"{files[0]}{more}"))
    return replace(archive, records=tuple(records), loaders=loaders)


def _network(path: Path, archive: Archive, skeleton: nn.Module, **more: Any) -> Network:
    loaders = dict(archive.loaders)
    records = more.pop("records", archive.records)
    fields: dict[str, Any] = {
        "name": path.name,
        "source": archive.facts.get("repository", str(path)),
        "sha256": sha256_of_files(archive.files),
        "dtype": commonest_dtype(records),
        "skeleton": skeleton,
        "records": records,
        "loaders": {**loaders, **effective_loaders(loaders, more.pop("transposed", frozenset()))},
        "facts": archive.facts,
    }
    return Network(**{**fields, **more})


def _declared(path: Path, archive: Archive, skeleton: nn.Module, tied: Mapping[str, str]) -> Network:
    by_name = {r.name: r for r in archive.records}
    buffers = {name for name, _ in skeleton.named_buffers(remove_duplicate=False)}
    records = [_as_declared(r, tied, buffers) for r in archive.records]
    for name, original in tied.items():
        if name not in by_name and original in by_name:
            twin = by_name[original]
            records.append(
                TensorRecord(name, twin.shape, twin.dtype, "tied", f"same tensor as {original}", tied_to=original)
            )
    return _network(path, archive, skeleton, records=tuple(records))


def _graphed(path: Path, archive: Archive, skeleton: nn.Module) -> Network:
    """A file that holds its own architecture; it runs if every operation is known."""
    graph = skeleton if isinstance(skeleton, GraphModule) else None
    names = dict(graph.names) if graph else {}
    trouble = [*graph.unknown, *_misfits(graph, archive)] if graph else []
    facts = {**archive.facts, **({"cannot run": trouble} if trouble else {})}
    archive = replace(archive, facts=facts)
    # what is declared needs no reading, what was guessed says so
    guessed = {r.path: r for r in archive.readings or () if r.confidence != "declared"}
    runs = graph is not None and not trouble
    return _network(path, archive, skeleton, names=names, readings=guessed, runs=runs)


def _misfits(graph: GraphModule, archive: Archive) -> list[str]:
    """Weights of another shape than the architecture of the same file says."""
    found = []
    for place, module in graph.named_modules():
        path = graph.names.get(place, place)
        for role, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            loader = archive.loaders.get(f"{path}.{role}" if path else role)
            if loader is not None and tuple(loader.shape) != tuple(tensor.shape):
                stored = " x ".join(map(str, loader.shape))
                found.append(f"weights do not fit: {path}.{role} is {stored}, not {' x '.join(map(str, tensor.shape))}")
    return found


def _as_declared(record: TensorRecord, tied: Mapping[str, str], buffers: set[str]) -> TensorRecord:
    if record.role == "parameter" and record.name in tied:
        original = tied[record.name]
        return replace(
            record, role="tied", reason=f"same tensor as {original}, says the declared architecture", tied_to=original
        )
    if record.role == "parameter" and record.name in buffers:
        return replace(record, role="buffer", reason="kept by the module, not trained")
    return record


def _by_rules(path: Path, archive: Archive, kinds: Mapping[str, str] | None) -> Network:
    told = None if kinds else archive.readings
    found = told if told is not None else read_names(archive.records, kinds, ordered="order" not in archive.facts)
    readings = tuple(_with_settings(r, archive) if r.kind == "adapter" else r for r in found)
    archive = _with_heads(archive, kinds)
    skeleton, table = skeleton_of(readings)
    mark_complex(skeleton, table, {record.name for record in archive.records if record.dtype.startswith("complex")})
    # a raw tensor that the user gave a kind is a module of its own, whose weight has the module's name
    raw = {f"{r.path}.weight": archive.loaders[r.path] for r in readings if r.roles.get("weight") == r.path != ""}
    archive = replace(archive, loaders={**archive.loaders, **raw})
    transposed = frozenset(r.roles["weight"] for r in readings if r.kind == "transposed_kernel_matrix")
    return _network(path, archive, skeleton, names=table, readings={r.path: r for r in readings}, transposed=transposed)


def _with_heads(archive: Archive, kinds: Mapping[str, str] | None) -> Archive:
    """The numbers of heads that a person gave, which graphs and bare files may not tell."""
    heads = {glob: int(word[6:]) for glob, word in (kinds or {}).items() if word.startswith("heads:")}
    return replace(archive, facts={**archive.facts, "heads": heads}) if heads else archive


def _with_settings(reading: Reading, archive: Archive) -> Reading:
    """How strongly an adapter acts is declared in its settings, or a guess."""
    shapes = {r.name: r.shape for r in archive.records}
    (one,) = adapters_among({name: shapes[name] for name in reading.roles.values()})
    config: Any = archive.facts.get("adapter_config")
    told = "alpha" in reading.roles or is_scale_told(one, config)
    return replace(reading, confidence="declared" if told else "guess")


def _refuse_for_declared(kinds: Mapping[str, str] | None, what: str) -> None:
    if kinds:
        raise ValueError(f"--kind is for bare checkpoints; {what} declares the kind of every layer itself.")


def _built(path: Path, archive: Archive, builder: str) -> Network:
    module = _called(builder)
    missing = [n for n, _ in module.named_parameters() if n not in archive.loaders]
    if missing:
        raise ValueError(
            f"{builder} has {len(missing)} parameters that {path.name} lacks, such as {missing[0]!r}; "
            f"return the module the checkpoint was saved from."
        )
    state = {name: archive.loaders[name]() for name in module.state_dict() if name in archive.loaders}
    try:
        module.load_state_dict(state, strict=False)
    except RuntimeError as fault:
        raise ValueError(f"{path.name} does not fit the module of {builder}: {fault}") from fault
    network = from_module(module.eval(), path.name)
    others = tuple(r for r in archive.records if r.role == "optimiser")
    return replace(
        network,
        source=str(path),
        sha256=sha256_of_files(archive.files),
        records=(*network.records, *others),
        facts={**archive.facts, "builder": builder},
    )


def _called(builder: str) -> nn.Module:
    built = called(builder, "builder", function_of(builder, "builder", "returns the module"))
    if not isinstance(built, nn.Module):
        raise ValueError(f"{builder} returned {type(built).__name__}; it must return a torch.nn.Module.")
    return built
