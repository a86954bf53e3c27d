"""The names of a network's tensors, without what wrappers around the network added to them."""

from collections.abc import Collection

__all__ = ["without_wrappers"]

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module"})


def without_wrappers(names: Collection[str]) -> dict[str, str]:
    """Map each name in the file to its name inside the network.

    Path components written by ``torch.compile`` and FSDP go anywhere, a leading ``module.`` (``DataParallel``) only
    when all names have it. If two names would become one, all stay as they are.

    >>> without_wrappers(["module.fc.weight", "module.fc.bias"])
    {'module.fc.weight': 'fc.weight', 'module.fc.bias': 'fc.bias'}
    """
    short = {name: _without_components(name) for name in names}
    while short and all(name.startswith("module.") and name != "module." for name in short.values()):
        short = {name: inner.removeprefix("module.") for name, inner in short.items()}
    if len(set(short.values())) < len(short):
        return {name: name for name in names}
    return short


def _without_components(name: str) -> str:
    *parents, last = name.split(".")
    return ".".join([*(part for part in parents if part not in _WRAPPERS), last])
