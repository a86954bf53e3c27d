"""Attention whose keys and values come from a narrow latent: DeepSeek's multi-head latent attention."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from lmd.layers.attention.counts import Heads, query_heads
from lmd.layers.attention.positions import Rotary, rotary_of
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.attention.settings import Settings, settings_of
from lmd.layers.gain import adds_one
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.linalg.rotary import rotated
from lmd.sources.loaders import Combined, Loader
from lmd.sources.network import Network

__all__ = ["latent_attention"]

_DOWN, _UP = "kv_a_proj_with_mqa", "kv_b_proj"
_HALVES = ("minicpm3", "glm5_next", "hy_v4")
"""Families that turn the two halves of the rotary part; the others turn neighbours."""
_UNKNOWN = "the number of heads is not known"
_NORM = "with the gains of the norms of the latents; dividing by their sizes is not linear and left out"


def _reads_a_latent(module: nn.Module) -> bool:
    """A module with Linear `kv_a_proj_with_mqa`, `kv_b_proj`, `o_proj`, and `q_proj` or `q_a_proj` and `q_b_proj`."""
    linear = {name for name, child in module.named_children() if isinstance(child, nn.Linear)}
    return {_DOWN, _UP, "o_proj"} <= linear and ("q_proj" in linear or {"q_a_proj", "q_b_proj"} <= linear)


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A projection behind another one and its normalisation.

    Attributes:
        up: the projection that gives the heads.
        down: what gives the latent it reads, None where it reads the input itself.
        gain: of the normalisation of the latent, None without one.
        from_one: whether 1 is to be added to the gain.
    """

    up: Projection
    down: Projection | None = None
    gain: Loader | None = None
    from_one: bool = False

    @property
    def inputs(self) -> int:
        """Of the whole."""
        return (self.down or self.up).inputs

    def parts(self, start: int, size: int, *, fold_bias: bool) -> dict[str, Loader]:
        """What some of its outputs are made of."""
        first = self.down or self.up
        found = {
            "up": self.up.rows(start, size),
            "down": self.down.rows(0, self.down.outputs) if self.down else None,
            "gain": self.gain,
            "bias": first.biases(*((0, first.outputs) if self.down else (start, size))) if fold_bias else None,
        }
        return {name: loader for name, loader in found.items() if loader is not None}


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Of one head: the part of query and key without positions, the one that turns, the value."""

    heads: int
    plain: int
    turning: int
    value: int


@claims(_reads_a_latent)
def latent_attention(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Each stored map, latent and rotary key apart; per head the comparison without positions, the rotary one, values.

    The two comparisons are views of their own, since only one of them goes through the normalisation of the latent.
    """
    settings = settings_of(module, path, network)
    names = [name for name in ("q_proj", "q_a_proj", "q_b_proj", _DOWN, _UP, "o_proj") if name in module._modules]
    stored = {name: _stored(path, name, network) for name in names}
    sizes = _sizes(stored, settings)
    reads = replace(stored[_DOWN], strips=Strips(0, stored[_UP].inputs, stored[_UP].inputs), kind="dense")
    rows = _rows(stored, sizes, reads)
    yield from (row.row(fold_bias=network.wishes.fold_bias) for row in rows.values())
    if sizes is None or not network.wishes.parts:
        return
    latent = (reads, *_gain(module, path, "kv_a_layernorm", network))
    query = _Step(stored["q_proj"]) if "q_proj" in stored else None
    query = query or _Step(stored["q_b_proj"], stored["q_a_proj"], *_gain(module, path, "q_a_layernorm", network))
    steps = {"query": query, **{role: _Step(rows[role], *latent) for role in ("key", "value")}}
    steps["rotary"] = _Step(rows["rotary"])
    heads = Heads(sizes.heads, 1, sizes.turning, sizes.value)
    rotary = rotary_of(module, path, settings, heads, network)
    if rotary is not None:
        rotary = replace(rotary, interleaved=_interleaved(settings))
    yield from _comparisons(path, steps, sizes, rotary, network)
    for head in range(sizes.heads):
        yield _written(path, steps["value"], stored["o_proj"], head, sizes.value, network)


def _stored(path: str, name: str, network: Network) -> Projection:
    place = join(path, name)
    weight, bias = network.loader(f"{place}.weight"), network.loaders.get(f"{place}.bias")
    kind = {"o_proj": "attention_output", "q_proj": "query", "q_b_proj": "query"}.get(name, "dense")
    note = "from the input to the latent of the queries" if name == "q_a_proj" else ""
    return Projection(place, kind, weight, bias, Strips(0, weight.shape[0], weight.shape[0]), note=note)


def _sizes(stored: dict[str, Projection], settings: Settings) -> _Sizes | None:
    """The sizes of a head; shapes tell them, even from a bare file."""
    query, up, read = stored.get("q_proj", stored.get("q_b_proj")), stored[_UP].outputs, stored["o_proj"].inputs
    turning = stored[_DOWN].outputs - stored[_UP].inputs
    assert query is not None, "claimed"
    # heads * turning is what is left of the queries without the plain part, which keys have too
    rotary = query.outputs - (up - read)
    count = query_heads(settings) or (rotary // turning if turning > 0 else 0)
    if turning < 0 or not count or rotary != count * turning or up % count or read % count:
        return None
    return _Sizes(count, (up - read) // count, turning, read // count)


def _rows(stored: dict[str, Projection], sizes: _Sizes | None, reads: Projection) -> dict[str, Projection]:
    down, up = stored[_DOWN], stored[_UP]
    rotary = Strips(reads.outputs, down.outputs - reads.outputs, down.outputs - reads.outputs)
    rows = {name: row for name, row in stored.items() if name not in (_DOWN, _UP, "o_proj")}
    rows["latent"] = replace(reads, name=f"{down.name}.latent").noted("to the latent of keys and values")
    if rotary.length:
        rows["rotary"] = replace(down, name=f"{down.name}.key", kind="key", strips=rotary).noted("rotary, of all heads")
    if sizes is None:
        return {**rows, _UP: up.noted(_UNKNOWN), "o_proj": stored["o_proj"].noted(_UNKNOWN)}
    step = sizes.plain + sizes.value
    for role, strips in (
        ("key", Strips(0, sizes.plain, step, sizes.heads)),
        ("value", Strips(sizes.plain, sizes.value, step, sizes.heads)),
    ):
        rows[role] = replace(up, name=f"{up.name}.{role}", kind=role, strips=strips).noted("reads the latent")
    return {**rows, "o_proj": stored["o_proj"]}


def _gain(module: nn.Module, path: str, name: str, network: Network) -> tuple[Loader | None, bool]:
    norm = module._modules.get(name)
    loader = network.loaders.get(join(path, f"{name}.weight"))
    return loader, norm is not None and loader is not None and adds_one(norm)


def _interleaved(settings: Settings) -> bool:
    said = settings.value("rope_interleave")
    family = f"{settings.value('model_type') or ''}".lower()
    return said if isinstance(said, bool) else family not in _HALVES


@dataclass(frozen=True, slots=True)
class _Form:
    """How the parts of two steps become the factors of their product."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    from_one: tuple[bool, bool]
    angles: tuple[float, ...] = ()
    interleaved: bool = False
    factor: float = 1.0


def _comparisons(
    path: str, steps: dict[str, _Step], sizes: _Sizes, rotary: Rotary | None, network: Network
) -> Iterator[ThinProduct]:
    wide, distance = sizes.plain + sizes.turning, network.wishes.distance
    known = rotary.frequencies if rotary and isinstance(rotary.frequencies, tuple) else ()
    about = f"rotary positions at distance {distance}, query minus key"
    if distance and not known:
        about = f"distance {distance} left out: {(rotary and rotary.reason) or 'nobody tells the frequencies'}"
    for where, role, start, size, key_step, text in (
        (path, "key", 0, sizes.plain, sizes.plain, "the part without positions"),
        (join(path, "rotary"), "rotary", sizes.plain, sizes.turning, 0, f"the rotary part; {about}"),
    ):
        for head in range(sizes.heads if size else 0):
            parts = [
                steps["query"].parts(head * wide + start, size, fold_bias=network.wishes.fold_bias),
                steps[role].parts(head * key_step, size, fold_bias=network.wishes.fold_bias),
            ]
            turned = tuple(distance * f for f in known) if role == "rotary" else ()
            form = _Form(
                tuple(parts[0]),
                tuple(parts[1]),
                (steps["query"].from_one, steps[role].from_one),
                turned,
                bool(rotary and rotary.interleaved),
                rotary.factor if rotary and role == "rotary" else 1.0,
            )
            out, inn = (steps[s].inputs + ("bias" in p) for s, p in zip(("query", role), parts, strict=True))
            scaled = _NORM if {"gain"} & {*form.first, *form.second} else ""
            note = "; ".join(filter(None, (f"{text}; one of two that are added, before scaling and softmax", scaled)))
            loader = Combined(
                partial(_compared, form=form), (*parts[0].values(), *parts[1].values()), (out + inn, size)
            )
            name, view = join(where, f"query_key.{head}"), steps["query"].up.name
            constants = ("bias" in parts[0], "bias" in parts[1])
            yield ThinProduct(
                name, "query_key", (out, inn), loader, view_of=view, note=note, inner=size, constants=constants
            )


def _written(path: str, value: _Step, output: Projection, head: int, width: int, network: Network) -> ThinProduct:
    parts = value.parts(head * width, width, fold_bias=network.wishes.fold_bias)
    form = _Form(("output",), tuple(parts), (False, value.from_one))
    out, inn = output.outputs, value.inputs + ("bias" in parts)
    loaders = (output.columns(head * width, width), *parts.values())
    loader = Combined(partial(_output_and_value, form=form), loaders, (out + inn, width))
    name = join(path, f"value_output.{head}")
    return ThinProduct(
        name,
        "value_output",
        (out, inn),
        loader,
        view_of=output.name,
        note=_NORM,
        inner=width,
        constants=(False, "bias" in parts),
    )


def _compared(*parts: Tensor, form: _Form) -> Float64[Tensor, "out_and_in width"]:
    Q = _through(dict(zip(form.first, parts, strict=False)), from_one=form.from_one[0])
    K = _through(dict(zip(form.second, parts[len(form.first) :], strict=True)), from_one=form.from_one[1])
    if form.angles:
        Q = rotated(Q, torch.tensor(form.angles, dtype=torch.float64), interleaved=form.interleaved)
    # query and key turn with the same factor each
    return stacked(Q.T * form.factor**2, K)


def _output_and_value(*parts: Tensor, form: _Form) -> Float64[Tensor, "out_and_in width"]:
    V = _through(dict(zip(form.second, parts[1:], strict=True)), from_one=form.from_one[1])
    return stacked(parts[0].double(), V)


def _through(given: dict[str, Tensor], *, from_one: bool) -> Float64[Tensor, "width in"]:
    """What one head reads of the input: up, the gain, down; a bias as the last column."""
    W = given["down" if "down" in given else "up"].double()
    if "bias" in given:
        W = torch.cat([W, given["bias"].double()[:, None]], dim=1)
    if "down" not in given:
        return W
    up = given["up"].double()
    if "gain" in given:
        up = up * (given["gain"].double() + float(from_one))
    return up @ W
