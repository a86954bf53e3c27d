"""The operations of the standard as functions of tensors."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

__all__ = ["registered"]


@cache
def registered() -> None:
    """Import every file of operations, once; they register themselves."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
