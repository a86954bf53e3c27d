"""Which tensors make up one adapter, by the names peft gives them. Needs no torch."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from lmd.sources.adapter_methods import OTHER_ROLES, ROLES, SHARED, method_of, reason_of
from lmd.sources.reading import Reading, TensorRecord

__all__ = ["AdapterTensors", "adapter_readings", "adapters_among", "is_role", "without_adapters"]

_ROLES = (
    *("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_E"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
    *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *("lora_down", "lora_up", "lora_mid", "dora_scale", "alpha"),
)
_ALIASES = {"lora_down": "lora_A", "lora_up": "lora_B"}
"""What trainers of image models call them; they keep alpha as a tensor beside."""
_TENSOR = re.compile(
    rf"(?:(?P<path>.+?)\.)?(?P<role>{'|'.join(sorted((*_ROLES, *ROLES), key=len, reverse=True))})"
    r"(?:\.(?!(?:weight|bias)$)(?P<adapter>[^.]+))?(?:\.weight)?"
)
_DOWN_UP = re.compile(r"(?P<path>.+?)(?:[._]lora|\.lora_linear_layer)\.(?P<which>down|up)\.weight")
"""How earlier diffusers named the two factors."""
_NOT_READ = frozenset(["dora_scale", "lora_diag"])
"""Magnitudes of inputs or outputs, or a diagonal between the factors: another product than the two factors' alone."""
_OTHER = re.compile(
    rf"(?:(?P<path>.+?)\.)?(?P<role>(?:{'|'.join(sorted(OTHER_ROLES, key=len, reverse=True))})(?:\..+)?)"
)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class AdapterTensors:
    """The tensors that change one module.

    Attributes:
        target: dotted path of the module that is changed.
        adapter: name of the adapter where the source tells, as a live model does.
        method: ``lora``, ``lokr``, ``loha``, a method whose update needs the layer that it changes, or ``other``.
        roles: role in peft's words (``lora_A``) to tensor name.
        shapes: role to shape.
        shape: ``(out, in)`` of the update as a map; ``(0, 0)`` where only the layer that is changed tells.
        rank: width of the factors; 0 where the shapes do not tell.
        reason: why there is no update, for ``other``.
    """

    target: str
    adapter: str
    method: str
    roles: Mapping[str, str]
    shapes: Shapes
    shape: tuple[int, int]
    rank: int
    reason: str = ""

    @property
    def embedding(self) -> bool:
        """Whether a table is changed."""
        return "lora_embedding_A" in self.roles

    @property
    def groups(self) -> int:
        """Of a LoRA of a grouped convolution: its second factor is block-diagonal."""
        if self.method != "lora" or self.embedding:
            return 1
        return self.shapes["lora_A"][0] // self.shapes["lora_B"][1]


def adapters_among(shapes: Shapes) -> tuple[AdapterTensors, ...]:
    """Every complete adapter of a method that is known, in the order of the names."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    shared: dict[str, dict[str, str]] = {}
    for name in shapes:
        target, adapter, role = _placed(name)
        if role in SHARED and _is_root(target):
            shared.setdefault(adapter, {})[role] = name
        if role and not (role in SHARED and _is_root(target)):
            found.setdefault((target, adapter), {})[role] = name
    candidates = [
        _adapter(target, adapter, _with_shared(roles, shared.get(adapter, {})), shapes)
        for (target, adapter), roles in found.items()
        if not set(roles) <= {"alpha"}
    ]
    complete = tuple(one for one in candidates if one is not None)
    return (*complete, *_unused(shared, complete, shapes))


def _unused(
    shared: Mapping[str, Mapping[str, str]], complete: Iterable[AdapterTensors], shapes: Shapes
) -> Iterator[AdapterTensors]:
    """What layers share by its own name, and hold under names of theirs too."""
    used = {name for one in complete for name in one.roles.values()}
    for adapter, roles in shared.items():
        left = {role: name for role, name in roles.items() if name not in used}
        if left:
            own = {role: shapes[name] for role, name in left.items()}
            yield AdapterTensors("base_model", adapter, "other", left, own, (0, 0), 0, reason_of(left))


def is_role(name: str) -> bool:
    """Whether a child of a module has the name of an adapter's tensors."""
    return name != "alpha" and (_TENSOR.fullmatch(name) or _OTHER.fullmatch(name)) is not None


def _placed(name: str) -> tuple[str, str, str]:
    """Target, adapter and role of a tensor; no role where it is part of none."""
    if match := _DOWN_UP.fullmatch(name):
        # its attention processors hold the factors for the layers beside them
        return match["path"].replace(".processor.", "."), "", "lora_A" if match["which"] == "down" else "lora_B"
    if match := _TENSOR.fullmatch(name):
        return match["path"] or "", match["adapter"] or "", _ALIASES.get(match["role"], match["role"])
    match = _OTHER.fullmatch(name)
    return (match["path"] or "", "", match["role"]) if match else ("", "", "")


def _is_root(target: str) -> bool:
    return target in ("", "base_model")


def _with_shared(roles: dict[str, str], shared: Mapping[str, str]) -> dict[str, str]:
    """The tensors of one module and those its method shares between all of them."""
    stems = {role.partition("_")[0] for role in roles}
    return {**{role: name for role, name in shared.items() if role.partition("_")[0] in stems}, **roles}


def _adapter(target: str, adapter: str, roles: Mapping[str, str], shapes: Shapes) -> AdapterTensors | None:
    own = {role: shapes[name] for role, name in roles.items() if role != "alpha"}
    if any(0 in shape for shape in own.values()):
        return None
    for method, rule in (("lora", _lora), ("lora", _lora_of_a_table), ("lokr", _lokr), ("loha", _loha)):
        sizes = None if _NOT_READ & set(own) else rule(own)
        if sizes is not None:
            # without a rank there is nothing to divide alpha by
            kept = {role: name for role, name in roles.items() if role != "alpha" or sizes[2]}
            return AdapterTensors(target, adapter, method, kept, own, sizes[:2], sizes[2])
    method = method_of(own)
    # a part of a known method by itself may be anything
    if method == "other" and not any(role in ROLES or _OTHER.fullmatch(role) or role in _NOT_READ for role in own):
        return None
    return AdapterTensors(target, adapter, method, roles, own, (0, 0), 0, reason_of(own) if method == "other" else "")


Sizes = tuple[int, int, int] | None


def _lora(own: Shapes) -> Sizes:
    A, B = own.get("lora_A", ()), own.get("lora_B", ())
    if len(A) < 2 or len(B) < 2 or A[0] % B[1] or prod(B[2:]) != 1:
        return None
    core = own.get("lora_mid")
    if core is not None:
        # down, then the core, then up, the first and the last at one position
        fits = len(core) > 2 and core[:2] == (B[1], A[0]) and prod(A[2:]) == 1
        return (B[0], A[1] * prod(core[2:]), A[0]) if fits else None
    if "lora_E" in own and (own["lora_E"] != (A[0], 1) or A[0] != B[1]):
        return None
    return B[0], prod(A[1:]), A[0]


def _lora_of_a_table(own: Shapes) -> Sizes:
    A, B = own.get("lora_embedding_A", ()), own.get("lora_embedding_B", ())
    return (B[0], A[1], A[0]) if len(A) == len(B) == 2 and A[0] == B[1] else None


def _lokr(own: Shapes) -> Sizes:
    first, second = _lokr_first(own), _lokr_second(own)
    if first is None or second is None:
        return None
    rank = next((own[role][0] for role in ("lokr_w1_b", "lokr_w2_b") if role in own), 0)
    return first[0] * second[0], first[1] * second[1], rank


def _lokr_first(own: Shapes) -> tuple[int, int] | None:
    whole = own.get("lokr_w1", ())
    return (whole[0], whole[1]) if len(whole) == 2 else _product(own, "lokr_w1")


def _lokr_second(own: Shapes) -> tuple[int, int] | None:
    whole, core = own.get("lokr_w2", ()), own.get("lokr_t2", ())
    if len(whole) >= 2:
        return whole[0], prod(whole[1:])
    return _with_core(own, "lokr_w2", core) if core else _product(own, "lokr_w2")


def _loha(own: Shapes) -> Sizes:
    sizes = [
        _with_core(own, f"hada_w{n}", own[f"hada_t{n}"]) if f"hada_t{n}" in own else _product(own, f"hada_w{n}")
        for n in (1, 2)
    ]
    if sizes[0] is None or sizes[0] != sizes[1]:
        return None
    return *sizes[0], own["hada_w1_b"][0]


def _product(own: Shapes, stem: str) -> tuple[int, int] | None:
    a, b = own.get(f"{stem}_a", ()), own.get(f"{stem}_b", ())
    return (a[0], b[1]) if len(a) == len(b) == 2 and a[1] == b[0] else None


def _with_core(own: Shapes, stem: str, core: Sequence[int]) -> tuple[int, int] | None:
    """Factors around a core ``(rank, rank, k, k)``, both with the rank first."""
    a, b = own.get(f"{stem}_a", ()), own.get(f"{stem}_b", ())
    if not len(a) == len(b) == 2 or len(core) < 3 or a[0] != core[0] or b[0] != core[1]:
        return None
    return a[1], b[1] * prod(core[2:])


def adapter_readings(records: Iterable[TensorRecord]) -> tuple[Reading, ...]:
    """One reading for each adapter of a file, at the path ``TARGET.adapter``."""
    shapes = {r.name: r.shape for r in records if r.role == "parameter"}
    found = adapters_among(shapes)
    several = len({one.adapter for one in found}) > 1
    return tuple(_reading(one, several=several) for one in found)


def _reading(one: AdapterTensors, *, several: bool) -> Reading:
    path = ".".join(part for part in (one.target, "adapter", one.adapter if several else "") if part)
    needs = ", which needs that layer" if one.shape == (0, 0) and not one.reason else ""
    reason = f"{', '.join(one.roles)} together: an update of {one.target or 'the module'}{needs}"
    return Reading(path, "adapter", one.roles, one.shape, "shape", (), None, reason)


def without_adapters(records: Sequence[TensorRecord], readings: Iterable[Reading]) -> list[TensorRecord]:
    """The records that no adapter takes."""
    taken = {name for reading in readings for name in reading.roles.values()}
    return [record for record in records if record.name not in taken]
