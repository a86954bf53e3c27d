"""The tensors of one module, grouped by the roles their last names give them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmd.sources.reading import TensorRecord
from lmd.sources.rules.tensor_roles import effective_names

__all__ = ["Module", "modules_of"]


@dataclass(frozen=True, slots=True)
class Module:
    """The tensors one module owns: role, ``weight``, to name in the file and to shape."""

    path: str
    roles: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    buffers: frozenset[str] = frozenset()

    @property
    def trained(self) -> dict[str, tuple[int, ...]]:
        """Role to shape, without the buffers."""
        return {role: shape for role, shape in self.shapes.items() if role not in self.buffers}

    @property
    def last(self) -> str:
        """The module's own name."""
        return self.path.rpartition(".")[2]

    @property
    def parent(self) -> str:
        """The path of the module around it."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The last part of the path that is no number: ``emb`` of ``emb.3``."""
        return next((part for part in reversed(self.path.split(".")) if not part.isdigit()), "")

    @property
    def stem(self) -> str:
        """Its own name without digits, which modules in a row share."""
        return re.sub(r"\d+", "", self.last)


def modules_of(records: Sequence[TensorRecord]) -> list[Module]:
    """Group parameters and buffers by module, in the order of the file; parametrised weights count as one."""
    # a tensor without entries is no layer, one of integers or of none neither, and one with a reason is not read
    kept = [r for r in records if r.role == "buffer" or (r.role == "parameter" and not r.reason)]
    kept = [r for r in kept if r.dtype not in ("int64", "bool", "none")]
    shapes = {r.name: r.shape for r in kept if 0 not in r.shape}
    for effective, stored in effective_names(shapes).items():
        # weight norm keeps the direction, of the weight's shape, in its second tensor
        full = stored[0] if stored[0].endswith(("_orig", ".original")) else stored[1]
        shapes = {effective if n == full else n: s for n, s in shapes.items() if n == full or n not in stored}
    grouped: dict[str, dict[str, str]] = {}
    for name in shapes:
        path, _, last = name.rpartition(".")
        grouped.setdefault(path, {})[last] = name
    buffers = {r.name for r in records if r.role == "buffer"}
    return [
        Module(
            path,
            roles,
            {role: shapes[name] for role, name in roles.items()},
            frozenset(role for role, name in roles.items() if name in buffers),
        )
        for path, roles in grouped.items()
    ]
