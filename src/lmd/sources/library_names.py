"""The names a transformers architecture has for the tensors of its files, where the two differ."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lmd.sources.depth_order import depth_key
from lmd.sources.recipes import Recipe

__all__ = ["recipes_of"]


def recipes_of(model: nn.Module, names: Iterable[str]) -> dict[str, Recipe]:
    """How the model's tensors are made of the file's, by the library's own list of renamings and conversions.

    Conversions that do more than stack, join and cut leave their tensors out, which then do not fit the model.

    Args:
        model: as the library builds it.
        names: of the file's tensors.

    Returns:
        Name in the model to recipe, for every tensor of the file whose name changes; empty if the library has no list.
    """
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
    except ImportError:
        return {}
    untyped: Any = model
    changes = get_model_conversion_mapping(untyped)
    renamings: Any = [change for change in changes if isinstance(change, WeightRenaming)]
    converters: Any = [change for change in changes if isinstance(change, WeightConverter)]
    own: Any = dict(model.state_dict())
    prefix = getattr(model, "base_model_prefix", "") or None
    found: dict[str, Recipe] = {}
    collected: dict[tuple[str, int], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        target, pattern = rename_source_key(name, renamings, converters, prefix, own)
        if pattern is None:
            found.update({target: Recipe(((name,),))} if target != name else {})
            continue
        index = next(i for i, converter in enumerate(converters) if pattern in converter.source_patterns)
        collected[target, index][pattern].append(name)
    for (target, index), groups in collected.items():
        found.update(_converted(converters[index], target, groups, own))
    return found


def _converted(
    converter: Any, target: str, groups: dict[str, list[str]], own: Mapping[str, Tensor]
) -> Iterator[tuple[str, Recipe]]:
    """The recipes of one conversion, none if one of its steps is not understood."""
    steps = [(type(step).__name__, int(getattr(step, "dim", 0))) for step in converter.operations]
    ordered = [tuple(sorted(groups[p], key=depth_key)) for p in converter.source_patterns if p in groups]
    stacked = steps[:1] == [("MergeModulelist", 0)]
    rest = steps[stacked:]
    if not stacked and any(len(group) > 1 for group in ordered):
        return
    targets = converter.target_patterns
    if len(targets) == 1 and _joins(rest):
        axis = rest[0][1] if rest else 0
        yield target, Recipe(tuple(ordered), stacked, axis)
    elif len(ordered) == 1 and [kind for kind, _ in rest] == ["Chunk"]:
        for index, pattern in enumerate(targets):
            piece = (rest[0][1], index, len(targets))
            yield target.replace(targets[0], pattern), Recipe(tuple(ordered), stacked, piece=piece)
    elif len(ordered) == 1 and [kind for kind, _ in rest] == ["Split"]:
        for name, cut in _pieces(targets, target, rest[0][1], own):
            yield name, Recipe(tuple(ordered), stacked, cut=cut)


def _pieces(
    targets: Sequence[str], target: str, axis: int, own: Mapping[str, Tensor]
) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Pieces one behind the other, each as long as the model's own tensor."""
    start = 0
    for pattern in targets:
        name = target.replace(targets[0], pattern)
        if name not in own:
            return
        length = own[name].shape[axis]
        yield name, (axis, start, length)
        start += length


def _joins(steps: Sequence[tuple[str, int]]) -> bool:
    return not steps or (len(steps) == 1 and steps[0][0] == "Concatenate")
