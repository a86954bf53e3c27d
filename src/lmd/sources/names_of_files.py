"""A transformers architecture under the names its files have, where the library renamed its modules since."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

__all__ = ["file_names_of", "under_file_names"]


def file_names_of(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Map the model's names to those of the file, by the library's own list of renamings; empty if it has none.

    Tensors that the library splits or joins on loading keep their names, and so do not fit.
    """
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming
    except ImportError:
        return {}
    untyped: Any = model
    renamings = [change for change in get_model_conversion_mapping(untyped) if isinstance(change, WeightRenaming)]
    found: dict[str, str] = {}
    for name in names:
        renamed = name
        for renaming in renamings:
            renamed, _ = renaming.rename_source_key(renamed)
        found[renamed] = name
    return found


def under_file_names(model: nn.Module, file_names: Mapping[str, str]) -> nn.Module:
    """The model's leaf modules in a tree with the paths of the file; parameters of others stand by themselves.

    Raises:
        KeyError: the file lacks a parameter, or a path is taken.
    """
    tree = nn.Module()
    for path, module in model.named_modules():
        own = dict(module.named_parameters(path, recurse=False))
        targets = {name: file_names[name] for name in own}
        if not own:
            continue
        parents = {target.rpartition(".")[0] for target in targets.values()}
        same_roles = all(name.rpartition(".")[2] == target.rpartition(".")[2] for name, target in targets.items())
        if not any(module.children()) and len(parents) == 1 and same_roles and "" not in parents:
            _put_module(tree, parents.pop(), module)
            continue
        for name, target in targets.items():
            parent, _, role = target.rpartition(".")
            _inside(tree, parent).register_parameter(role, own[name])
    return tree


def _put_module(tree: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, last = path.rpartition(".")
    _inside(tree, parent).add_module(last, module)


def _inside(tree: nn.Module, path: str) -> nn.Module:
    for part in path.split(".") if path else ():
        if part not in tree._modules:
            tree.add_module(part, nn.Module())
        tree = tree.get_submodule(part)
    return tree
