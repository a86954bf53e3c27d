"""ONNX files written by hand: the modules of an example network as nodes, one behind the other."""

from collections.abc import Callable, Iterator
from functools import singledispatchmethod
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

__all__ = ["Writer", "as_onnx", "save"]

_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Places of ONNX's gates in torch's order."""



def numbers(tensor: Tensor) -> numpy.ndarray:
    return tensor.detach().numpy()


def save(nodes, constants: dict, folder: Path, *, inputs=("x",), outputs=None, opset=20, name="model.onnx", **more) -> Path:
    """A model of some nodes, with inputs and outputs whose shapes are not told unless they are a dict."""
    given = inputs if isinstance(inputs, dict) else dict.fromkeys(inputs)
    outputs = outputs or [nodes[-1].output[0]]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in given.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(numpy.asarray(value), n) for n, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, **more)
    onnx.save(model, folder / name)
    return folder / name


class Writer:
    """Nodes of modules, each reading what the one before it makes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, numpy.ndarray] = {}
        self.value = "x"

    def node(self, op: str, path: str, names: dict[str, Tensor | numpy.ndarray | None], **settings) -> str:
        inputs = []
        for name, tensor in names.items():
            if tensor is not None:
                self.constants[name] = numbers(tensor) if isinstance(tensor, Tensor) else tensor
            inputs.append(name)
        made = f"/{path}/{op}_{len(self.nodes)}_output"
        self.nodes.append(helper.make_node(op, [self.value, *inputs], [made], f"/{path}/{op}", **settings))
        self.value = made
        return made

    def weight(self, module: nn.Module, path: str) -> dict[str, Tensor | None]:
        """The weight; one that is computed, by nodes, from the tensors it is computed from."""
        state = {f"{path}.{n}": numbers(t) for n, t in module.state_dict().items()}
        stored = [n for n in state if "weight_" in n or "parametrizations" in n]
        if not stored:
            return {f"{path}.weight": module.weight}
        self.constants.update((name, state[name]) for name in stored)
        first = max(stored, key=lambda name: (state[name].size, "orig" in name))
        rest = next((n for n in stored if n.endswith(("_mask", "_g", "original0"))), None)
        if rest is None:
            rest, op = f"{path}.sigma", "Div"
            weight = numbers(module.weight)
            self.constants[rest] = (state[first] / numpy.where(weight == 0, 1, weight)).reshape(-1)[:1]
        else:
            op = "Mul"
        made = f"/{path}/{op}_weight"
        self.nodes.append(helper.make_node(op, [first, rest], [made], f"/{path}/{op}"))
        return {made: None}

    def biased(self, module: nn.Module, path: str) -> dict[str, Tensor]:
        bias = getattr(module, "bias", None)
        return {f"{path}.bias": bias} if isinstance(bias, Tensor) else {}

    @singledispatchmethod
    def write(self, module: nn.Module, path: str) -> bool:
        """Whether the module was written; its children are asked otherwise."""
        return False

    @write.register
    def _(self, module: nn.Linear, path: str) -> bool:
        self.node("Gemm", path, {**self.weight(module, path), **self.biased(module, path)}, transB=1)
        return True

    @write.register(nn.Conv1d)
    @write.register(nn.Conv2d)
    def _(self, module, path: str) -> bool:
        names = {**self.weight(module, path), **self.biased(module, path)}
        pads = [*module.padding, *module.padding]
        self.node("Conv", path, names, group=module.groups, strides=[*module.stride], pads=pads)
        return True

    @write.register
    def _(self, module: nn.ConvTranspose2d, path: str) -> bool:
        self.node("ConvTranspose", path, {**self.weight(module, path), **self.biased(module, path)})
        return True

    @write.register
    def _(self, module: nn.modules.batchnorm._BatchNorm, path: str) -> bool:
        roles = ("weight", "bias", "running_mean", "running_var")
        self.node("BatchNormalization", path, {f"{path}.{r}": getattr(module, r) for r in roles}, epsilon=module.eps)
        return True

    @write.register
    def _(self, module: nn.LayerNorm, path: str) -> bool:
        names = {f"{path}.weight": module.weight, **self.biased(module, path)}
        self.node("LayerNormalization", path, names, epsilon=module.eps)
        return True

    @write.register
    def _(self, module: nn.Embedding, path: str) -> bool:
        self.constants[f"{path}.weight"] = numbers(module.weight)
        made = f"/{path}/Gather_output"
        self.nodes.append(helper.make_node("Gather", [f"{path}.weight", self.value], [made], f"/{path}/Gather"))
        self.value = made
        return True

    @write.register
    def _(self, module: nn.RNNBase, path: str) -> bool:
        order, sides = _GATES[module.mode.partition("_")[0]], ("", "_reverse")[: 1 + module.bidirectional]

        def gates(name: str, side: str) -> numpy.ndarray:
            pieces = getattr(module, f"{name}_l0{side}").chunk(len(order))
            return numpy.concatenate([numbers(pieces[place]) for place in order])

        W, R = (numpy.stack([gates(f"weight_{part}", side) for side in sides]) for part in ("ih", "hh"))
        B = numpy.stack([numpy.concatenate([gates(f"bias_{p}", side) for p in ("ih", "hh")]) for side in sides])
        direction = "bidirectional" if module.bidirectional else "forward"
        names = {f"onnx::{kind}_{len(self.nodes)}": part for kind, part in (("W", W), ("R", R), ("B", B))}
        self.node(module.mode.partition("_")[0], path, names, hidden_size=module.hidden_size, direction=direction)
        return True

    @write.register
    def _(self, module: nn.MultiheadAttention, path: str) -> bool:
        """As torch's exporter lays it out, its attention in the middle left out."""
        self.node("MatMul", path, {f"onnx::MatMul_{len(self.nodes)}": module.in_proj_weight.T.contiguous()})
        self.node("Add", path, {f"{path}.in_proj_bias": module.in_proj_bias})
        width = module.embed_dim // module.num_heads
        self.node("Reshape", path, {f"/{path}/Constant": numpy.array([-1, module.num_heads, width])})
        self.write(module.out_proj, f"{path}.out_proj")
        return True


def _modules(module: nn.Module, path: str, write: Callable[[nn.Module, str], bool]) -> Iterator[str]:
    if write(module, path):
        yield path
        return
    for name, child in module.named_children():
        yield from _modules(child, f"{path}.{name}" if path else name, write)


def as_onnx(module: nn.Module, folder: Path) -> Path:
    """Every layer of a module; what is done between them is no matter to what the file holds."""
    writer = Writer()
    list(_modules(module, "", writer.write))
    return save(writer.nodes, writer.constants, folder)
