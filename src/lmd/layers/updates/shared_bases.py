"""Adapters whose factors are mixed of what all layers share: VeRA, RandLoRA, VB-LoRA; and those of few frequencies."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.layers.updates.against_base import Update, with_base
from lmd.layers.updates.setting import Setting, misfit, pending, without_update
from lmd.sources.adapter_names import AdapterTensors
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["SHARED_BASES"]

Parts = tuple[Loader, ...]


def _parts(one: AdapterTensors, network: Network, roles: tuple[str, ...]) -> Parts:
    return tuple(network.loader(one.roles[role]) for role in roles)


def _vera(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    parts = _parts(one, network, ("vera_lambda_b", "vera_B", "vera_lambda_d", "vera_A"))
    return pending(one, setting, partial(_with_vera, one=one, setting=setting, parts=parts), "VeRA")


def _with_vera(base: LayerMatrix, *, one: AdapterTensors, setting: Setting, parts: Parts) -> LayerMatrix:
    out, inn = base.shape
    (rows,), (rank,) = one.shapes["vera_lambda_b"], one.shapes["vera_lambda_d"]
    if rows != out or one.shapes["vera_A"][1] < inn or one.shapes["vera_B"][0] < out:
        return misfit(one, setting, base, "the vectors of VeRA")
    loader = Combined(partial(_scaled_factors, size=(out, inn)), parts, (out + inn, rank))
    note = f"VeRA of rank {rank}: random factors that all layers share, each row scaled"
    return with_base(ThinProduct(setting.name, "adapter", (out, inn), loader, note=note, inner=rank), base)


def _scaled_factors(b: Tensor, B: Tensor, d: Tensor, A: Tensor, *, size: tuple[int, int]) -> Tensor:
    out, inn = size
    return stacked(b.double()[:, None] * B[:out].double(), d.double()[:, None] * A[:, :inn].double())


def _randlora(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    parts = _parts(one, network, ("randlora_lambda", "randlora_gamma", "randlora_B", "randlora_A"))
    return pending(one, setting, partial(_with_randlora, one=one, setting=setting, parts=parts), "RandLoRA")


def _with_randlora(base: LayerMatrix, *, one: AdapterTensors, setting: Setting, parts: Parts) -> LayerMatrix:
    (rank, bases), (_, width) = one.shapes["randlora_lambda"], one.shapes["randlora_gamma"]
    long = one.shapes["randlora_B"][0]
    if width != min(base.shape) or long < max(base.shape):
        return misfit(one, setting, base, "the factors of RandLoRA")
    form = partial(_mixed_bases, size=base.shape, scale=setting.scale)
    note = f"RandLoRA: {bases} random products of rank {rank} that all layers share, mixed; {setting.note}"
    return Update(setting.name, "adapter", base.shape, Combined(form, parts, base.shape), note=note, base=base)


def _mixed_bases(
    weights: Tensor, gains: Tensor, B: Tensor, A: Tensor, *, size: tuple[int, int], scale: float
) -> Float64[Tensor, "out in"]:
    bases, (short, long) = weights.shape[1], (min(size), max(size))
    # peft flattens the two in different orders of basis and rank; the sum is over the flat index
    first = (weights[:, :, None].double() * A[:, :bases, :short].double() * gains[None].double()).flatten(0, 1)
    product = scale * B[:long, :bases].double().flatten(1) @ first
    return product if short == size[1] else product.T


def _vblora(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    topk = setting.config.get("topk")
    if not isinstance(topk, int):
        return without_update(one, setting, "VB-LoRA: how many vectors are mixed is in adapter_config.json: not there")
    rank, tiles, _ = one.shapes["vblora_logits_A"]
    length = one.shapes["vblora_vector_bank"][1]
    size = (one.shapes["vblora_logits_B"][0] * length, tiles * length)
    parts = _parts(one, network, ("vblora_logits_B", "vblora_logits_A", "vblora_vector_bank"))
    loader = Combined(partial(_mixed_vectors, topk=topk), parts, (sum(size), rank))
    note = f"VB-LoRA of rank {rank}: factors mixed of {topk} shared vectors each"
    return ThinProduct(setting.name, "adapter", size, loader, note=note, inner=rank)


def _mixed_vectors(logits_B: Tensor, logits_A: Tensor, bank: Tensor, *, topk: int) -> Tensor:
    B = _mixture(logits_B, bank, topk).transpose(1, 2).reshape(-1, logits_B.shape[1])
    return stacked(B, _mixture(logits_A, bank, topk).flatten(1))


def _mixture(logits: Tensor, bank: Tensor, topk: int) -> Float64[Tensor, "first second length"]:
    leading, places = logits.double().topk(topk, dim=-1)
    return (torch.softmax(leading, dim=-1).unsqueeze(-1) * bank.double()[places]).sum(-2)


def _fourierft(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    seed = setting.config.get("random_loc_seed")
    if not isinstance(seed, int):
        return without_update(
            one, setting, "FourierFT: the seed of its frequencies is in adapter_config.json: not there"
        )
    parts = _parts(one, network, ("fourierft_spectrum",))
    completed = partial(_with_fourierft, one=one, setting=setting, parts=parts, seed=seed)
    return pending(one, setting, completed, "FourierFT")


def _with_fourierft(
    base: LayerMatrix, *, one: AdapterTensors, setting: Setting, parts: Parts, seed: int
) -> LayerMatrix:
    (count,) = one.shapes["fourierft_spectrum"]
    out, inn = base.shape
    if count > out * inn:
        return misfit(one, setting, base, "the frequencies of FourierFT")
    form = partial(_of_frequencies, size=(out, inn), seed=seed, scale=setting.scale)
    note = f"FourierFT of {count} frequencies, their places drawn with seed {seed} as peft does; {setting.note}"
    return Update(setting.name, "adapter", (out, inn), Combined(form, parts, (out, inn)), note=note, base=base)


def _of_frequencies(spectrum: Tensor, *, size: tuple[int, int], seed: int, scale: float) -> Float64[Tensor, "out in"]:
    out, inn = size
    drawn = torch.randperm(out * inn, generator=torch.Generator().manual_seed(seed))[: spectrum.numel()]
    dense = torch.zeros(out * inn, dtype=torch.float64)
    dense[drawn] = spectrum.double()
    return scale * torch.fft.ifft2(dense.reshape(out, inn)).real


SHARED_BASES: Mapping[str, Callable[[AdapterTensors, Setting, Network], LayerMatrix]] = {
    "vera": _vera,
    "randlora": _randlora,
    "vblora": _vblora,
    "fourierft": _fourierft,
}
"""Method to the row of one adapter."""
