"""Adapters that multiply the layer they change: IA3's scales, orthogonal matrices, reflections, HiRA's products.

Each gives ``W' - W`` for the weight ``W`` of the base, in float64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.against_base import Update
from lmd.layers.updates.setting import Setting, misfit, pending, without_update
from lmd.sources.adapter_names import AdapterTensors
from lmd.sources.derived_loaders import Borrowed
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["MULTIPLIED"]

Given = Mapping[str, Tensor]
Change = Callable[[Given, Tensor, Mapping[str, Any]], Tensor]
Matrix = Float64[Tensor, "out in"]


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a method does to a weight, in words and as a function, and which layers its tensors fit."""

    words: str
    change: Change
    fits: Callable[[Mapping[str, tuple[int, ...]], tuple[int, int], Mapping[str, Any]], bool]


def _of_base(one: AdapterTensors, setting: Setting, network: Network, rule: _Rule) -> LayerMatrix:
    parts = {role: network.loader(name) for role, name in one.roles.items()}
    completed = partial(_completed, one=one, setting=setting, parts=parts, rule=rule)
    return pending(one, setting, completed, rule.words)


def _completed(
    base: LayerMatrix, *, one: AdapterTensors, setting: Setting, parts: Mapping[str, Loader], rule: _Rule
) -> LayerMatrix:
    if type(base).load is not LayerMatrix.load or not rule.fits(one.shapes, base.shape, setting.config):
        return misfit(one, setting, base, f"the tensors of {rule.words.partition(':')[0]}")
    form = partial(
        _changed,
        roles=tuple(parts),
        config=dict(setting.config),
        change=rule.change,
        base=partial(_dense, shape=base.shape, form=base.form, groups=base.groups),
    )
    loader = Combined(form, (*parts.values(), Borrowed(base.loader)), base.shape)
    return Update(setting.name, "adapter", base.shape, loader, note=rule.words, base=base)


def _changed(
    *tensors: Tensor,
    roles: tuple[str, ...],
    config: Mapping[str, Any],
    change: Change,
    base: Callable[[Tensor], Tensor],
) -> Matrix:
    given = {role: tensor.double() for role, tensor in zip(roles, tensors[:-1], strict=True)}
    return change(given, base(tensors[-1]), config)


def _dense(stored: Tensor, *, shape: tuple[int, int], form: Callable[[Tensor], Tensor], groups: int) -> Matrix:
    out, inn = shape
    return torch.block_diag(*form(stored).double().reshape(groups, out // groups, inn // groups))


def _ia3(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    words = "IA3: each input or each output of the layer scaled"
    return _of_base(one, setting, network, _Rule(words, _scaled, _scale_fits))


def _scale_fits(shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int], config: Mapping[str, Any]) -> bool:
    count = max(shapes["ia3_l"])
    return size[1] % count == 0 if _on_inputs(shapes["ia3_l"], config) else size[0] == count


def _on_inputs(shape: tuple[int, ...], config: Mapping[str, Any]) -> bool:
    # of a convolution the vector lies along the second axis either way
    return shape[0] == 1 if len(shape) == 2 else bool(config.get("is_feedforward"))


def _scaled(given: Given, W: Matrix, config: Mapping[str, Any]) -> Matrix:
    scales = given["ia3_l"]
    if not _on_inputs(tuple(scales.shape), config):
        return (scales.flatten() - 1)[:, None] * W
    scales = scales.flatten()
    return W * (scales.repeat_interleave(W.shape[1] // scales.numel()) - 1)


def _oft(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    if setting.config.get("use_cayley_neumann") is None:
        reason = "OFT: how its matrices are made of their entries is in adapter_config.json, which is not there"
        return without_update(one, setting, reason)
    words = "OFT: the inputs of the layer turned by blocks"
    return _of_base(one, setting, network, _Rule(words, _turned, _blocks_fit))


def _blocks_fit(shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int], config: Mapping[str, Any]) -> bool:
    count, entries = shapes["oft_R"]
    side = _side(entries)
    fits = side * (side - 1) // 2 == entries
    return fits and (size[1] % side == 0 if config.get("block_share") else size[1] == count * side)


def _side(entries: int) -> int:
    return round((1 + (1 + 8 * entries) ** 0.5) / 2)


def _turned(given: Given, W: Matrix, config: Mapping[str, Any]) -> Matrix:
    entries = given["oft_R"]
    side = _side(entries.shape[1])
    Q = entries.new_zeros(len(entries), side, side)
    rows, columns = torch.triu_indices(side, side, 1)
    Q[:, rows, columns] = entries
    Q = Q - Q.mT
    if config.get("coft"):
        # peft keeps each block within a ball about the identity
        radius = config["eps"] / len(Q) ** 0.5
        length = torch.linalg.matrix_norm(Q, keepdim=True)
        Q = torch.where(length <= radius, Q, radius * Q / length)
    R = _cayley_series(Q, config) if config["use_cayley_neumann"] else _cayley(Q)
    blocks = R if len(R) * side == W.shape[1] else R.expand(W.shape[1] // side, side, side)
    return W @ (torch.block_diag(*blocks).T - torch.eye(W.shape[1], dtype=W.dtype))


def _cayley(Q: Tensor) -> Tensor:
    """``(I + Q)⁻¹(I - Q)``, orthogonal for a skew-symmetric ``Q``."""
    identity = torch.eye(Q.shape[-1], dtype=Q.dtype)
    return torch.linalg.solve(identity + Q, identity - Q, left=False)


def _cayley_series(Q: Tensor, config: Mapping[str, Any]) -> Tensor:
    """The first terms ``I + 2Q + 2Q² + ...`` of ``(I + Q)(I - Q)⁻¹``, the last one once, as peft adds them up."""
    terms = int(config.get("num_cayley_neumann_terms") or 5)
    R, power = torch.eye(Q.shape[-1], dtype=Q.dtype).repeat(len(Q), 1, 1), Q
    if terms <= 1:
        return R
    R = R + 2 * Q
    for _ in range(2, max(terms - 1, 3)) if terms > 2 else ():
        power = power @ Q
        R = R + 2 * power
    return R + power @ Q if terms > 2 else R


def _boft(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    if len(one.shapes["boft_R"]) != 4 or one.shapes["boft_R"][0] != 1:
        return without_update(one, setting, "BOFT of several butterfly factors is not computed by lmd")
    words = "BOFT: the inputs of the layer turned by blocks, its outputs scaled"
    return _of_base(one, setting, network, _Rule(words, _turned_and_scaled, _butterfly_fits))


def _butterfly_fits(shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int], _: Mapping[str, Any]) -> bool:
    count, side = shapes["boft_R"][1:3]
    return size == (max(shapes["boft_s"]), count * side)


def _turned_and_scaled(given: Given, W: Matrix, _: Mapping[str, Any]) -> Matrix:
    entries = given["boft_R"][0]
    R = torch.block_diag(*_cayley((entries - entries.mT) / 2))
    return given["boft_s"].flatten()[:, None] * (W @ R.T) - W


def _hra(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    if setting.config.get("apply_GS") is None:
        return without_update(one, setting, "HRA: whether its reflections are made orthogonal is not told")
    words = f"HRA: the inputs of the layer reflected {one.shapes['hra_u'][1]} times"
    return _of_base(one, setting, network, _Rule(words, _reflected, _vectors_fit))


def _vectors_fit(shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int], _: Mapping[str, Any]) -> bool:
    return shapes["hra_u"][0] == size[1]


def _reflected(given: Given, W: Matrix, config: Mapping[str, Any]) -> Matrix:
    vectors = given["hra_u"]
    if config["apply_GS"]:
        Q, _ = torch.linalg.qr(vectors)
        return -2 * (W @ Q) @ Q.T
    moved = W
    for u in (vectors / torch.linalg.vector_norm(vectors, dim=0)).T:
        moved = moved - 2 * torch.outer(moved @ u, u)
    return moved - W


def _hira(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    words = "HiRA: the weight times a low-rank product, element by element"
    return _of_base(one, setting, network, _Rule(words, _by_elements, _product_fits))


def _product_fits(shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int], _: Mapping[str, Any]) -> bool:
    A, B = shapes["hira_A"], shapes["hira_B"]
    return len(A) == len(B) == 2 and (B[0], A[1]) == size


def _by_elements(given: Given, W: Matrix, _: Mapping[str, Any]) -> Matrix:
    return W * (given["hira_B"] @ given["hira_A"])


MULTIPLIED: Mapping[str, Callable[[AdapterTensors, Setting, Network], LayerMatrix]] = {
    "ia3": _ia3,
    "oft": _oft,
    "boft": _boft,
    "hra": _hra,
    "hira": _hira,
}
"""Method to the row of one adapter."""
