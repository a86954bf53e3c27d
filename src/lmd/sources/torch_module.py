"""A live ``torch.nn.Module`` as a Network; the module is only looked at."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils import parametrize

from lmd.sources.checksum import sha256_of_tensors
from lmd.sources.errors import UnreadableModelError
from lmd.sources.loaders import Evaluated, Held, Loader
from lmd.sources.network import Network
from lmd.sources.parametrised import effective_loaders
from lmd.sources.reading import TensorRecord

__all__ = ["commonest_dtype", "from_module"]

_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")
_UNINITIALISED = (UninitializedParameter, UninitializedBuffer)


def from_module(module: nn.Module, name: str = "") -> Network:
    """Describe a live module.

    Args:
        module: any module; wrappers for data parallelism and compilation are looked through.
        name: what to call it; its class by default.

    Raises:
        UnreadableModelError: the module's weights have no numbers (meta device).
    """
    inner = _unwrapped(module)
    name = name or type(inner).__name__
    names = _without_wrappers(inner)
    tensors = {names(n): t for n, t in _named_tensors(inner)}
    _refuse_meta(tensors, name)
    records = tuple(replace(r, name=names(r.name), tied_to=names(r.tied_to)) for r in _records(inner))
    loaders: dict[str, Loader] = {n: Held(n, t) for n, t in tensors.items() if _is_read(t)}
    loaders |= effective_loaders(loaders, frozenset(map(names, _transposed(inner))))
    loaders |= {names(n): loader for n, loader in _evaluated(inner).items()}
    return Network(
        name=name,
        source=f"{type(inner).__module__}.{type(inner).__qualname__}",
        sha256=sha256_of_tensors({n: t for n, t in tensors.items() if _is_read(t)}),
        dtype=commonest_dtype(records),
        skeleton=inner,
        records=records,
        loaders=loaders,
        names={path: names(path) for path, _ in inner.named_modules() if names(path) != path},
        runs=True,
    )


def commonest_dtype(records: Iterable[TensorRecord]) -> str:
    """The type that holds most parameters, or ``none``."""
    counts: Counter[str] = Counter()
    for record in records:
        if record.role == "parameter":
            counts[record.dtype] += record.elements
    return counts.most_common(1)[0][0] if counts else "none"


def _unwrapped(module: nn.Module) -> nn.Module:
    while (inner := _wrapped(module)) is not None:
        module = module.get_submodule(inner)
    return module


def _wrapped(module: nn.Module) -> str | None:
    """Name under which a wrapper for data parallelism or compilation keeps the module; None for any other module."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "module"
    return "_orig_mod" if isinstance(getattr(module, "_orig_mod", None), nn.Module) else None


def _without_wrappers(module: nn.Module) -> Callable[[str], str]:
    """From names in a live module to those without its wrappers, which are the names in its files."""
    # in a file a child called `module` may be anything, one called `_orig_mod` is what torch.compile made
    found = [path for path, m in module.named_modules() if _wrapped(m) == "_orig_mod"]

    def plain(name: str) -> str:
        for path in sorted(found, key=len, reverse=True):
            inside = f"{path}._orig_mod"
            if name == inside or name.startswith(f"{inside}."):
                name = path + name[len(inside) :]
        return name

    return plain


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _is_read(tensor: Tensor) -> bool:
    return not isinstance(tensor, _UNINITIALISED) and tensor.layout == torch.strided


def _refuse_meta(tensors: Mapping[str, Tensor], name: str) -> None:
    meta = [n for n, t in tensors.items() if t.is_meta]
    if meta:
        raise UnreadableModelError(
            f"module {name} has {len(meta)} tensors on the meta device ({meta[0]!r}), which hold no numbers; "
            f"load its weights first."
        )


def _records(module: nn.Module) -> Iterator[TensorRecord]:
    first_name: dict[Any, str] = {}
    for kind, named in (
        ("parameter", module.named_parameters(remove_duplicate=False)),
        ("buffer", module.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in named:
            yield _record(name, tensor, kind, first_name.setdefault(_place(tensor), name))
    yield from _packed(module)


def _place(tensor: Tensor) -> Any:
    """What two names of one tensor share: the object, or the very same numbers in memory."""
    if not _is_read(tensor) or tensor.numel() == 0:
        return id(tensor)
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _packed(module: nn.Module) -> Iterator[TensorRecord]:
    """Weights of quantised layers, which torch hides from its own list of parameters."""
    for path, owner in module.named_modules():
        if not type(owner).__module__.startswith(_QUANTISED):
            continue
        for name in ("weight", "bias"):
            read = getattr(owner, name, None)
            tensor = read() if callable(read) else read
            if isinstance(tensor, Tensor):
                dtype = str(tensor.dtype).removeprefix("torch.")
                reason = "packed by torch's quantisation; decompose the float module it was made from"
                yield TensorRecord(f"{path}.{name}".lstrip("."), tuple(tensor.shape), dtype, "parameter", reason)


def _record(name: str, tensor: Tensor, kind: str, first: str) -> TensorRecord:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if not _is_read(tensor):
        lazy = isinstance(tensor, _UNINITIALISED)
        reason = "not initialised yet: call the module once" if lazy else f"layout {tensor.layout}: not a dense tensor"
        return TensorRecord(name, (0,) if lazy else tuple(tensor.shape), dtype, "parameter", reason)
    shape = tuple(tensor.shape)
    if kind == "buffer":
        return TensorRecord(name, shape, dtype, "buffer", "kept by the module, not trained")
    if not tensor.is_floating_point() and not tensor.is_complex():
        reason = f"quantised: {dtype} codes; decomposing it needs the real numbers, which lmd does not compute yet"
        return TensorRecord(name, shape, dtype, "parameter", reason)
    if first != name:
        return TensorRecord(name, shape, dtype, "tied", f"same tensor as {first}", tied_to=first)
    return TensorRecord(name, shape, dtype)


def _transposed(module: nn.Module) -> frozenset[str]:
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return frozenset(f"{p}.weight".lstrip(".") for p, m in module.named_modules() if isinstance(m, kinds))


def _evaluated(module: nn.Module) -> dict[str, Loader]:
    found: dict[str, Loader] = {}
    for path, owner in module.named_modules():
        if not parametrize.is_parametrized(owner):
            continue
        for attribute, chain in owner.parametrizations.items():  # type: ignore[union-attr]  # a ModuleDict
            prefix = f"{path}." if path else ""
            originals = tuple(
                f"{prefix}parametrizations.{attribute}.{n}" for n, _ in chain.named_parameters(recurse=False)
            )
            shape = _evaluated_shape(owner, attribute)
            found[f"{prefix}{attribute}"] = Evaluated(originals, owner, attribute, shape)
    return found


def _evaluated_shape(owner: nn.Module, attribute: str) -> tuple[int, ...]:
    try:
        return tuple(Evaluated((), owner, attribute, ())().shape)
    except (RuntimeError, TypeError, ValueError):
        # the layer will fail when it is read, and say why; until then its largest stored tensor stands for it
        stored = owner.get_submodule(f"parametrizations.{attribute}").parameters(recurse=False)
        return max((tuple(tensor.shape) for tensor in stored), key=prod, default=())
