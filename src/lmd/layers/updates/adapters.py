"""Adapters: what LoRA, DoRA, LoKr and LoHa add to a layer, from peft's folders and from live peft models."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join, matrices_of
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.layers.updates.against_base import with_base
from lmd.layers.updates.kronecker import KroneckerProduct, side_by_side
from lmd.layers.updates.whole_update import MagnitudeUpdate, rescaled_update
from lmd.sources.adapter_names import AdapterTensors, adapters_among
from lmd.sources.adapter_scale import configured_rank, scale_of
from lmd.sources.loaders import Combined
from lmd.sources.network import Network
from lmd.sources.skeleton import AdapterSkeleton

__all__ = ["live_adapter", "stored_adapter"]


@dataclass(frozen=True, slots=True)
class _Setting:
    """Where an adapter stands: the name of its row, its strength, and of how many stacked experts it is."""

    name: str
    scale: float
    note: str
    experts: int = 1


def _stored(module: nn.Module) -> bool:
    """The tensors of one adapter in a file: `lora_A`, `lora_B`, `lokr_w1`, `hada_w1_a` and so on."""
    return isinstance(module, AdapterSkeleton)


@claims(_stored)
def stored_adapter(module: AdapterSkeleton, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The update ``(out, in)`` that one adapter of a file makes, the scale of its settings included."""
    (one,) = adapters_among({name: network.loader(name).shape for name in module.roles.values()})
    config: Any = network.facts.get("adapter_config") or {}
    # alpha as a tensor is read when the factors are
    scale, words = (
        scale_of(one, config)
        if "alpha" not in one.roles
        else (1.0 / one.rank, f"scale alpha/{one.rank}, alpha from the file")
    )
    experts = one.rank // max(configured_rank(one, config), 1) if config.get("target_parameters") else 1
    yield from _rows(one, _Setting(path, scale, words, max(experts, 1)), network)


_CHILDREN = ("lora_A", "lora_embedding_A", "lokr_w1", "hada_w1_a")


def _adapted(module: nn.Module) -> bool:
    """A module with the layer it changes, `base_layer`, and the factors of adapters, as peft's layers have them."""
    return "base_layer" in module._modules and any(child in module._modules for child in _CHILDREN)


@claims(_adapted)
def live_adapter(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """The update ``(out, in)`` that each adapter of a live layer makes, beside the layer it changes."""
    names = [join(path, n) for n, _ in module.named_parameters() if not n.startswith("base_layer.")]
    found = adapters_among({n: network.loader(n).shape for n in names if n in network.loaders})
    base = _whole(matrices_of(module.get_submodule("base_layer"), join(path, "base_layer"), network))
    scales: Mapping[str, float] = getattr(module, "scaling", {})
    merged = getattr(module, "merged_adapters", ())
    for one in found:
        name = join(join(path, "adapter"), one.adapter if len(found) > 1 else "").rstrip(".")
        scale = float(scales.get(one.adapter, 1.0))
        note = f"scale {scale:g}" + ("; merged: the base holds it already" if one.adapter in merged else "")
        setting = _Setting(name, scale, note, int(getattr(module, "num_experts", 1)))
        for row in _rows(one, setting, network):
            fits = base is not None and base.shape == row.shape
            yield with_base(row, base) if fits and base is not None else row
            if fits and base is not None and isinstance(row, MagnitudeUpdate):
                yield rescaled_update(row, base)


def _whole(rows: Iterator[LayerMatrix]) -> LayerMatrix | None:
    return next((row for row in rows if row.view_of is None), None)


def _rows(one: AdapterTensors, setting: _Setting, network: Network) -> Iterator[LayerMatrix]:
    if setting.experts > 1:
        yield from _experts(one, setting, network)
        return
    yield _BUILDERS[one.method](one, setting, network)


def _lora(one: AdapterTensors, setting: _Setting, network: Network) -> LayerMatrix:
    first, second = ("lora_embedding_A", "lora_embedding_B") if one.embedding else ("lora_A", "lora_B")
    parts = tuple(network.loader(one.roles[role]) for role in (second, first, "alpha") if role in one.roles)
    (out, inn), rank = one.shape, one.rank
    form = partial(_thin, scale=setting.scale, groups=one.groups)
    loader = Combined(form, parts, (out + inn, rank))
    magnitude = one.roles.get("lora_magnitude_vector")
    if magnitude is None:
        note = f"LoRA of rank {rank}; {setting.note}"
        return ThinProduct(setting.name, "adapter", one.shape, loader, note=note, inner=rank)
    note = f"the low-rank part of DoRA, rank {rank}; {setting.note}"
    return MagnitudeUpdate(
        setting.name, "adapter", one.shape, loader, note=note, inner=rank, magnitude=network.loader(magnitude)
    )


def _thin(B: Tensor, A: Tensor, *alpha: Tensor, scale: float, groups: int) -> Tensor:
    scale *= alpha[0].item() if alpha else 1.0
    L = B.double().flatten(1)
    if groups > 1:
        L = torch.block_diag(*L.chunk(groups))
    return stacked(scale * L, A.double().flatten(1))


def _experts(one: AdapterTensors, setting: _Setting, network: Network) -> Iterator[LayerMatrix]:
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


def _lokr(one: AdapterTensors, setting: _Setting, network: Network) -> LayerMatrix:
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


def _loha(one: AdapterTensors, setting: _Setting, network: Network) -> LayerMatrix:
    roles = tuple(role for role in one.roles if role.startswith(("hada_", "alpha")))
    parts = tuple(network.loader(one.roles[role]) for role in roles)
    loader = Combined(partial(_elementwise, roles=roles, scale=setting.scale), parts, one.shape)
    note = f"LoHa: two products of rank {one.rank}, multiplied element by element; {setting.note}"
    return LayerMatrix(setting.name, "adapter", one.shape, loader, note=note)


def _elementwise(*tensors: Tensor, roles: tuple[str, ...], scale: float) -> Tensor:
    given = {role: tensor.double() for role, tensor in zip(roles, tensors, strict=True)}
    first, second = (_side(given, f"hada_w{n}", given.get(f"hada_t{n}")) for n in (1, 2))
    return given.get("alpha", 1.0) * scale * first * second


_BUILDERS: Mapping[str, Callable[[AdapterTensors, _Setting, Network], LayerMatrix]] = {
    "lora": _lora,
    "lokr": _lokr,
    "loha": _loha,
}
