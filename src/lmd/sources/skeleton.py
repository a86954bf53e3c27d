"""Readings to a tree of modules on the meta device, so that layers need one mechanism."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from lmd.sources.reading import Reading

__all__ = [
    "AdapterSkeleton",
    "StackedLinear",
    "TransposedLinear",
    "is_stored_transposed",
    "mark_complex",
    "place",
    "skeleton_of",
]


class TransposedLinear(nn.Module):
    """A dense layer whose weight is stored ``(in, out)``, as in GPT-2."""

    def __init__(self, in_features: int, out_features: int, *, device: str | None = None) -> None:
        """Allocate the weight and the bias."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features, device=device))
        self.bias = nn.Parameter(torch.empty(out_features, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x W + b``."""
        return x @ self.weight + self.bias


class StackedLinear(nn.Module):
    """Several linear maps in one tensor ``(count, out, in)``, or ``(count, in, out)``, for several inputs at once."""

    def __init__(
        self, shape: tuple[int, ...], *, transposed: bool, device: str | None = None, dtype: Any = None
    ) -> None:
        """Allocate the weight."""
        super().__init__()
        self.transposed = transposed
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x_i W_i^T`` of each ``x_i`` along the first axis."""
        return x @ (self.weight if self.transposed else self.weight.mT)


class AdapterSkeleton(nn.Module):
    """The tensors of one adapter of a file, by role."""

    def __init__(self, roles: Mapping[str, str]) -> None:
        """Keep the names of the tensors."""
        super().__init__()
        self.roles = dict(roles)


def is_stored_transposed(module: nn.Module) -> bool:
    """A Conv1D as in transformers, and dense layers of bare files whose biases say they are stored ``(in, out)``.

    The first is known by its form, so that the library need not be there.
    """
    # a live attribute is not read, since that alone can step a parametrisation
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    like_conv1d = any(form.__name__ == "Conv1D" for form in type(module).__mro__) and "nf" in vars(module)
    return isinstance(module, TransposedLinear) or (like_conv1d and weight is not None and weight.ndim == 2)


def skeleton_of(readings: Iterable[Reading]) -> tuple[nn.Module, dict[str, str]]:
    """Build the module tree on the meta device.

    Returns:
        The root, and a table from module paths in it to paths in the file where they differ: torch refuses child names
        such as ``type``, ``half`` or the empty one.
    """
    root: nn.Module = nn.Module()
    table: dict[str, str] = {}
    # the root first, since it replaces what stands there; the rest in the order of the file
    for reading in sorted(readings, key=lambda r: bool(r.path)):
        module = _module(reading)
        if not reading.path:
            root = module
            continue
        path = place(root, reading.path, module)
        if path != reading.path:
            table[path] = reading.path
    return root, table


def mark_complex(root: nn.Module, table: Mapping[str, str], names: Collection[str]) -> None:
    """Give the parameters of these names in the file a complex type: shapes alone do not tell it."""
    for place, module in root.named_modules() if names else ():
        path = table.get(place, place)
        for role, parameter in list(module.named_parameters(recurse=False)):
            if (f"{path}.{role}" if path else role) in names:
                empty = torch.empty_like(parameter, dtype=torch.complex64)
                module.register_parameter(role, nn.Parameter(empty, requires_grad=False))


def place(root: nn.Module, path: str, module: nn.Module) -> str:
    """Put a module at a dotted path below ``root``, and say under which path it is found there.

    The two differ where torch refuses the name of a child, or ``root`` has an attribute of that name.
    """
    *parents, last = path.split(".")
    node, names = root, []
    for part in parents:
        name = _child_name(node, part)
        if name not in node._modules:
            node.add_module(name, nn.Module())
        node = node.get_submodule(name)
        names.append(name)
    name = _child_name(node, last)
    for child, below in getattr(node, name)._modules.items() if name in node._modules else ():
        module.add_module(child, below)
    node.add_module(name, module)
    return ".".join([*names, name])


def _child_name(node: nn.Module, part: str) -> str:
    name = part or "_"
    while name not in node._modules and hasattr(node, name):
        name += "_"
    return name


def _module(reading: Reading) -> nn.Module:
    build = _BUILDERS.get(reading.kind)
    assert build is not None, reading.kind
    return build(reading)


def _dense(reading: Reading) -> nn.Module:
    if len(reading.shape) == 3:
        outputs, first, second = reading.shape
        return nn.Bilinear(first, second, outputs, bias="bias" in reading.roles, device="meta")
    rows, columns = reading.shape
    return nn.Linear(columns, rows, bias="bias" in reading.roles, device="meta")


def _transposed_dense(reading: Reading) -> nn.Module:
    inputs, outputs = reading.shape
    return TransposedLinear(inputs, outputs, device="meta")


def _embedding(reading: Reading) -> nn.Module:
    entries, width = reading.shape
    # with a weight given: torch's own first numbers take seconds without memory
    return nn.Embedding(entries, width, _weight=torch.empty(entries, width, device="meta"))


def _kernel(reading: Reading) -> nn.Module:
    first, second, *kernel = reading.shape
    groups = (reading.settings or {}).get("groups", 1)
    options: dict[str, Any] = {"groups": groups, "bias": "bias" in reading.roles, "device": "meta"}
    dimensions = len(kernel)
    if reading.kind == "transposed_kernel_matrix":
        transposed = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dimensions]
        return transposed(first, second * groups, tuple(kernel), **options)
    forward = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    return forward(second * groups, first, tuple(kernel), **options)


def _diagonal(reading: Reading) -> nn.Module:
    (width,) = reading.shape
    if "running_var" in reading.roles:
        return nn.BatchNorm1d(width, device="meta")
    return nn.LayerNorm(width, bias="bias" in reading.roles, device="meta")


def _attention(reading: Reading) -> nn.Module:
    settings: Mapping[str, int] = reading.settings or {}
    return nn.MultiheadAttention(
        settings["embed_dim"],
        settings.get("heads", 1),
        kdim=settings.get("kdim"),
        vdim=settings.get("vdim"),
        device="meta",
    )


def _recurrent(reading: Reading) -> nn.Module:
    settings = dict(reading.settings or {})
    gates, width, hidden = settings["gates"], settings["input_size"], settings["hidden_size"]
    if "weight_hh" in reading.roles:
        cell: Any = {1: nn.RNNCell, 3: nn.GRUCell, 4: nn.LSTMCell}[gates]
        return cell(width, hidden, bias="bias_ih" in reading.roles, device="meta")
    options: dict[str, Any] = {
        "num_layers": settings["num_layers"],
        "bidirectional": bool(settings["bidirectional"]),
        "bias": "bias_ih_l0" in reading.roles,
        "device": "meta",
    }
    if settings["proj_size"]:
        options["proj_size"] = settings["proj_size"]
    layer: Any = {1: nn.RNN, 3: nn.GRU, 4: nn.LSTM}[gates]
    return layer(width, hidden, **options)


def _adapter(reading: Reading) -> nn.Module:
    return AdapterSkeleton(reading.roles)


def _raw(reading: Reading) -> nn.Module:
    module = nn.Module()
    for role, shape in reading.shapes.items():
        # a name that torch refuses stays a tensor without a module
        if role and not hasattr(module, role):
            module.register_parameter(role, nn.Parameter(torch.empty(shape, device="meta"), requires_grad=False))
    return module


_BUILDERS = {
    "adapter": _adapter,
    "dense": _dense,
    "transposed_dense": _transposed_dense,
    "embedding": _embedding,
    "kernel_matrix": _kernel,
    "grouped_kernel_matrix": _kernel,
    "transposed_kernel_matrix": _kernel,
    "diagonal": _diagonal,
    "query": _attention,
    "gate": _recurrent,
    "raw": _raw,
}
