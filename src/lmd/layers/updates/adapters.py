"""Adapters: what LoRA, DoRA, LoKr and LoHa add to a layer, from peft's folders and from live peft models."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.layers.updates.changed_layers import changed_experts, changed_layer
from lmd.layers.updates.kronecker import KroneckerProduct, side_by_side
from lmd.layers.updates.live_settings import live_settings
from lmd.layers.updates.multiplied import MULTIPLIED
from lmd.layers.updates.replaced_rows import replaced_rows
from lmd.layers.updates.setting import Setting, without_update
from lmd.layers.updates.shared_bases import SHARED_BASES
from lmd.layers.updates.starts import start_of
from lmd.layers.updates.unpaired import NeedsBase, Unpaired
from lmd.layers.updates.whole_update import PartialUpdate, beside, from_leading_part, rescaled_update
from lmd.sources.adapter_names import AdapterTensors, adapters_among, is_role
from lmd.sources.adapter_scale import configured_rank, is_named, scale_of
from lmd.sources.loaders import Combined
from lmd.sources.network import Network
from lmd.sources.skeleton import AdapterSkeleton

__all__ = ["live_adapter", "stored_adapter"]


_INNER = ".base_layer."
"""What peft puts into the path of the output projection where it wraps an attention of torch."""
_TWICE = "; peft (0.21) adds it to the weight twice, in the forward pass and in merging; here it is once"


def _stored(module: nn.Module) -> bool:
    """The tensors of one adapter in a file: `lora_A`, `lora_B`, `lokr_w1`, `hada_w1_a` and so on."""
    return isinstance(module, AdapterSkeleton)


@claims(_stored)
def stored_adapter(module: AdapterSkeleton, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The update ``(out, in)`` that one adapter of a file makes, the scale of its settings included."""
    (one,) = adapters_among({name: network.loader(name).shape for name in module.roles.values()})
    config: Any = network.facts.get("adapter_config") or {}
    # alpha as a tensor is read when the factors are
    # peft gives the output of an attention the settings that its patterns name the attention with
    scale, words = (
        scale_of(replace(one, target=one.target.partition(_INNER)[0]), config)
        if "alpha" not in one.roles or not one.rank
        else (1.0 / one.rank, f"scale alpha/{one.rank}, alpha from the file")
    )
    experts = one.rank // max(configured_rank(one, config), 1) if config.get("target_parameters") else 1
    config = {**config, "is_feedforward": is_named(one.target, config.get("feedforward_modules"))}
    # codes have a reason of their own
    codes = {record.name for record in network.records if record.reason}
    one = replace(one, roles={r: n for r, n in one.roles.items() if n not in codes}) if one.reason else one
    name = path.replace(_INNER, ".")
    yield from _rows(one, Setting(name, scale, f"{words}{_twice(one)}", max(experts, 1), config), network)


def _twice(one: AdapterTensors) -> str:
    return _TWICE if one.method == "lora" and one.target.endswith(f"{_INNER}out_proj") else ""


def _adapted(module: nn.Module) -> bool:
    """A module with the layer it changes, `base_layer`, and the factors of adapters, as peft's layers have them."""
    return "base_layer" in module._modules and any(is_role(child) for child in (*module._modules, *module._parameters))


@claims(_adapted)
def live_adapter(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The update ``(out, in)`` that each adapter of a live layer makes, beside the layer it changes."""
    # what a method shares between layers is kept as buffers
    tensors = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    names = [join(path, n) for n, _ in tensors if not n.startswith("base_layer.")]
    found = adapters_among({n: network.loader(n).shape for n in names if n in network.loaders})
    experts = int(getattr(module, "num_experts", 1))
    bases = _changed(module, path, network, experts)
    for one in found:
        name = join(join(path, "adapter"), one.adapter if len(found) > 1 else "").rstrip(".")
        scale, config = live_settings(module, one, network.skeleton)
        words = f"scale {scale:g}{_twice(one)}"
        merged = one.adapter in getattr(module, "merged_adapters", ())
        for index, row in enumerate(_rows(one, Setting(name, scale, words, experts, config), network)):
            if merged or not bases:
                yield _merged(row) if merged else row
            else:
                yield from beside(row, bases[index])


def _merged(row: LayerMatrix) -> LayerMatrix:
    if isinstance(row, NeedsBase):
        reason = "merged: the base holds it already, and what it was before is gone; unmerge the adapter"
        return Unpaired(row.name, row.kind, row.shape, row.loader, reason=reason)
    return replace(row, note=f"{row.note}; merged: the base holds it already")


def _changed(module: nn.Module, path: str, network: Network, experts: int) -> list[LayerMatrix]:
    """What a live layer changes: itself, or each expert's matrix of the stack that it names."""
    place, inner = join(path, "base_layer"), module.get_submodule("base_layer")
    if experts == 1:
        found = changed_layer(inner, place, network)
        return [] if found is None else [found]
    while "base_layer" in inner._modules:
        place, inner = join(place, "base_layer"), inner.get_submodule("base_layer")
    name = join(place, str(getattr(module, "parameter_name", "")))
    rows = (row for expert in range(experts) for row in changed_experts(inner, place, network, expert))
    return [row for row in rows if row.name.rpartition(".")[0] == name]


def _rows(one: AdapterTensors, setting: Setting, network: Network) -> Iterator[LayerMatrix]:
    if setting.experts > 1:
        yield from _experts(one, setting, network)
        return
    if one.method == "other":
        yield without_update(one, setting, one.reason)
        return
    yield _BUILDERS[one.method](one, setting, network)


def _lora(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    first, second = ("lora_embedding_A", "lora_embedding_B") if one.embedding else ("lora_A", "lora_B")
    roles = tuple(role for role in (second, first, "lora_E", "lora_mid", "alpha") if role in one.roles)
    parts = tuple(network.loader(one.roles[role]) for role in roles)
    (out, inn), rank = one.shape, one.rank
    form = partial(_thin, roles=roles, scale=setting.scale, groups=one.groups)
    row = ThinProduct(setting.name, "adapter", one.shape, Combined(form, parts, (out + inn, rank)), inner=rank)
    name = "AdaLoRA" if "lora_E" in one.roles else "LoRA"
    start = start_of(setting.config, setting.scale)
    magnitude = one.roles.get("lora_magnitude_vector")
    if magnitude is not None:
        completed = partial(rescaled_update, magnitude=network.loader(magnitude), start=start)
        return _partial(row, completed, f"the low-rank part of DoRA, rank {rank}{start.words}; {setting.note}")
    if start.part is not None:
        completed = partial(from_leading_part, start=start)
        return _partial(row, completed, f"LoRA of rank {rank}{start.words}; {setting.note}")
    return replace(row, note=f"{name} of rank {rank}{start.words}; {setting.note}")


def _partial(row: ThinProduct, completed: Callable[..., LayerMatrix], note: str) -> PartialUpdate:
    return PartialUpdate(row.name, "adapter", row.shape, row.loader, note=note, inner=row.inner, completed=completed)


def _thin(*tensors: Tensor, roles: tuple[str, ...], scale: float, groups: int) -> Tensor:
    L, R = tensors[0].double().flatten(1), tensors[1].double().flatten(1)
    given = dict(zip(roles[2:], tensors[2:], strict=True))
    if groups > 1:
        L = torch.block_diag(*L.chunk(groups))
    if "lora_E" in given:
        L = L * given["lora_E"].double().flatten()
    if "lora_mid" in given:
        R = torch.einsum("pq...,qi->pi...", given["lora_mid"].double(), R).flatten(1)
    return stacked(scale * given["alpha"].item() * L if "alpha" in given else scale * L, R)


def _experts(one: AdapterTensors, setting: Setting, network: Network) -> Iterator[LayerMatrix]:
    """One row for each of a stack of experts, whose factors lie interleaved in the two tensors."""
    rank = one.rank // setting.experts
    parts = (network.loader(one.roles["lora_B"]), network.loader(one.roles["lora_A"]))
    for expert in range(setting.experts):
        form = partial(_thin_of_expert, scale=setting.scale, expert=expert, experts=setting.experts)
        loader = Combined(form, parts, (sum(one.shape), rank))
        note = f"LoRA of rank {rank}, expert {expert}; {setting.note}"
        yield ThinProduct(f"{setting.name}.{expert}", "adapter", one.shape, loader, note=note, inner=rank)


def _thin_of_expert(B: Tensor, A: Tensor, *, scale: float, expert: int, experts: int) -> Tensor:
    rank = A.shape[0] // experts
    return stacked(scale * B.double()[:, expert::experts], A[expert * rank : (expert + 1) * rank])


def _lokr(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    roles = tuple(role for role in one.roles if role.startswith(("lokr_", "alpha")))
    parts = tuple(network.loader(one.roles[role]) for role in roles)
    if len(one.shapes.get("lokr_w2", ())) == 3:
        # peft multiplies the kernel positions of one dimension with the inputs of the first factor
        loader = Combined(partial(_kron_of_a_row, roles=roles, scale=setting.scale), parts, one.shape)
        note = f"LoKr of a one-dimensional kernel, as peft unfolds it; {setting.note}"
        return LayerMatrix(setting.name, "adapter", one.shape, loader, note=note)
    a, b = _first_shape(one)
    (out, inn) = one.shape
    entries = a * b + (out // a) * (inn // b)
    loader = Combined(partial(_kronecker, roles=roles, scale=setting.scale), parts, (entries,))
    note = f"LoKr, {a} x {b} (x) {out // a} x {inn // b}; {setting.note}"
    return KroneckerProduct(setting.name, "adapter", one.shape, loader, note=note, first=(a, b))


def _first_shape(one: AdapterTensors) -> tuple[int, int]:
    whole = one.shapes.get("lokr_w1")
    return (whole[0], whole[1]) if whole else (one.shapes["lokr_w1_a"][0], one.shapes["lokr_w1_b"][1])


def _kronecker(*tensors: Tensor, roles: tuple[str, ...], scale: float) -> Tensor:
    first, second = _factors(tensors, roles)
    return side_by_side(scale * first, second.flatten(1))


def _kron_of_a_row(*tensors: Tensor, roles: tuple[str, ...], scale: float) -> Tensor:
    first, second = _factors(tensors, roles)
    out = first.shape[0] * second.shape[0]
    return (scale * torch.kron(first.contiguous(), second.contiguous())).reshape(out, -1)


def _factors(tensors: tuple[Tensor, ...], roles: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    given = {role: tensor.double() for role, tensor in zip(roles, tensors, strict=True)}
    return given.get("alpha", 1.0) * _side(given, "lokr_w1", None), _side(given, "lokr_w2", given.get("lokr_t2"))


def _side(given: Mapping[str, Tensor], stem: str, core: Tensor | None) -> Tensor:
    """One side of a Kronecker or elementwise product: whole, a product, or a product around a core."""
    if stem in given:
        return given[stem]
    a, b = given[f"{stem}_a"], given[f"{stem}_b"]
    if core is None:
        return a @ b
    return torch.einsum("ij...,ip,jq->pq...", core, a, b).flatten(1)


def _loha(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    roles = tuple(role for role in one.roles if role.startswith(("hada_", "alpha")))
    parts = tuple(network.loader(one.roles[role]) for role in roles)
    loader = Combined(partial(_elementwise, roles=roles, scale=setting.scale), parts, one.shape)
    note = f"LoHa: two products of rank {one.rank}, multiplied element by element; {setting.note}"
    return LayerMatrix(setting.name, "adapter", one.shape, loader, note=note)


def _elementwise(*tensors: Tensor, roles: tuple[str, ...], scale: float) -> Tensor:
    given = {role: tensor.double() for role, tensor in zip(roles, tensors, strict=True)}
    first, second = (_side(given, f"hada_w{n}", given.get(f"hada_t{n}")) for n in (1, 2))
    return given.get("alpha", 1.0) * scale * first * second


_BUILDERS: Mapping[str, Callable[[AdapterTensors, Setting, Network], LayerMatrix]] = {
    "lora": _lora,
    "lokr": _lokr,
    "loha": _loha,
    "rows": replaced_rows,
    **MULTIPLIED,
    **SHARED_BASES,
}
