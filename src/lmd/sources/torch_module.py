"""A live ``torch.nn.Module`` as a Network; the module is only looked at."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

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
    tensors = dict(_named_tensors(inner))
    _refuse_meta(tensors, name)
    records = tuple(_records(inner))
    loaders: dict[str, Loader] = {n: Held(n, t) for n, t in tensors.items() if _is_read(t)}
    loaders |= effective_loaders(loaders, _transposed(inner))
    loaders |= _evaluated(inner)
    return Network(
        name=name,
        source=f"{type(inner).__module__}.{type(inner).__qualname__}",
        sha256=sha256_of_tensors({n: t for n, t in tensors.items() if _is_read(t)}),
        dtype=commonest_dtype(records),
        skeleton=inner,
        records=records,
        loaders=loaders,
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
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # type: ignore[assignment]  # torch.compile keeps the module there
        else:
            return module


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
    first_name: dict[int, str] = {}
    for kind, named in (
        ("parameter", module.named_parameters(remove_duplicate=False)),
        ("buffer", module.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in named:
            yield _record(name, tensor, kind, first_name.setdefault(id(tensor), name))


def _record(name: str, tensor: Tensor, kind: str, first: str) -> TensorRecord:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if not _is_read(tensor):
        lazy = isinstance(tensor, _UNINITIALISED)
        reason = "not initialised yet: call the module once" if lazy else f"layout {tensor.layout}: not a dense tensor"
        return TensorRecord(name, () if lazy else tuple(tensor.shape), dtype, "parameter", reason)
    shape = tuple(tensor.shape)
    if kind == "buffer":
        return TensorRecord(name, shape, dtype, "buffer", "kept by the module, not trained")
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
    return tuple(Evaluated((), owner, attribute, ())().shape)
