"""ONNX files written by hand: the modules of an example network as nodes, one behind the other."""

from collections.abc import Callable, Iterator
from functools import singledispatchmethod
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

__all__ = ["Writer", "as_onnx", "save", "small_models"]

_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Places of ONNX's gates in torch's order."""


def numbers(tensor: Tensor) -> numpy.ndarray:
    return tensor.detach().numpy()


def save(
    nodes, constants: dict, folder: Path, *, inputs=("x",), outputs=None, opset=20, name="model.onnx", **more
) -> Path:
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
        """As torch's exporter lays it out, for one example."""
        self.node("MatMul", path, {f"onnx::MatMul_{len(self.nodes)}": module.in_proj_weight.T.contiguous()})
        self.node("Add", path, {f"{path}.in_proj_bias": module.in_proj_bias})
        width = module.embed_dim // module.num_heads
        self.constants[f"/{path}/heads"] = numpy.array([-1, module.num_heads, width])
        self.constants[f"/{path}/whole"] = numpy.array([-1, module.embed_dim])
        parts = [f"/{path}/{letter}" for letter in "qkv"]
        self.nodes.append(helper.make_node("Split", [self.value], parts, f"/{path}/Split", axis=-1, num_outputs=3))
        for part, perm in zip(parts, ([1, 0, 2], [1, 2, 0], [1, 0, 2]), strict=True):
            self.nodes.append(helper.make_node("Reshape", [part, f"/{path}/heads"], [f"{part}_heads"]))
            self.nodes.append(helper.make_node("Transpose", [f"{part}_heads"], [f"{part}_turned"], perm=perm))
        q, k, v = (f"{part}_turned" for part in parts)
        for op, taken, made in (
            ("MatMul", [q, k], "scores"),
            ("Softmax", ["scores"], "weights"),
            ("MatMul", ["weights", v], "mixed"),
        ):
            inputs = [name if name.startswith("/") else f"/{path}/{name}" for name in taken]
            self.nodes.append(helper.make_node(op, inputs, [f"/{path}/{made}"], f"/{path}/{op}_{made}"))
        self.value = f"/{path}/mixed"
        self.node("Transpose", path, {}, perm=[1, 0, 2])
        self.node("Reshape", path, {f"/{path}/whole": None})
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


def small_models(folder: Path) -> list[Path]:
    """Small files of different kinds: constants in nodes and typed fields, branches, functions, whole numbers."""
    draw = numpy.random.default_rng(0)
    W, codes = draw.normal(size=(4, 3)).astype("float32"), draw.integers(-9, 9, (3, 2)).astype("int8")
    half = helper.make_tensor("half", TensorProto.FLOAT16, [3], [0.5, 1.0, -2.0])
    branches = [
        helper.make_graph(
            [helper.make_node("Add", ["m", name], [f"{name}_made"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_made", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(W[:, 0] * k, name)],
        )
        for k, name in enumerate(("yes", "no"))
    ]
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(W.T.copy())),
        helper.make_node("Cast", ["half"], ["gain"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "gain"], ["g"]),
        helper.make_node("MatMul", ["g", "c"], ["m"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["d"]),
        helper.make_node("Slice", ["y", "start", "end", "axes"], ["s"]),
        helper.make_node("Own", ["s", "d"], ["z"], "", domain="own", alpha=2.0),
    ]
    own = helper.make_function(
        "own", "Own", ["a", "b"], ["c"], [helper.make_node("MatMul", ["a", "b"], ["c"])], [helper.make_opsetid("", 20)]
    )
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [
            half,
            helper.make_tensor("flag", TensorProto.BOOL, [], [True]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [0.25]),
            helper.make_tensor("codes", TensorProto.INT8, [3, 2], codes.reshape(-1).tolist()),
            *(helper.make_tensor(n, TensorProto.INT64, [1], [k]) for n, k in (("start", 0), ("end", 3), ("axes", -1))),
        ],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    first = helper.make_model(graph, functions=[own], opset_imports=opsets, ir_version=9)
    onnx.save(first, folder / "typed.onnx")
    outside = save(
        [helper.make_node("MatMul", ["x", "W"], ["m"]), helper.make_node("Gather", ["W", "m"], ["y"])],
        {"W": W.T.repeat(64, axis=0)},
        folder,
        name="outside.onnx",
    )
    onnx.save(onnx.load(outside), outside, save_as_external_data=True, location="outside.bin", size_threshold=16)
    return [folder / "typed.onnx", outside, _of_codes(folder, draw)]


def _of_codes(folder: Path, draw: numpy.random.Generator) -> Path:
    """Operations of onnxruntime's own on codes, and an attention."""

    def codes(*shape: int) -> numpy.ndarray:
        return draw.integers(0, 99, shape).astype("uint8")

    real = {
        "s": numpy.float32(0.1),
        "bs": draw.normal(size=4),
        "ws": draw.normal(size=1),
        "qkv": draw.normal(size=(4, 12)),
    }
    numbers = {"t": codes(5, 4), "z": numpy.uint8(3), "B": codes(4, 1, 8), "lW": codes(1, 4, 8), "lR": codes(1, 2, 8)}
    numbers |= {name: value.astype("float32") for name, value in real.items()}
    nodes = [
        helper.make_node("Gather", ["t", "x"], ["e"]),
        helper.make_node("QLinearAdd", ["e", "s", "z", "e", "s", "z", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["d"]),
        helper.make_node("MatMulNBits", ["d", "B", "bs"], ["m"], K=4, N=4, bits=4, block_size=16),
        helper.make_node("Attention", ["m", "qkv"], ["h"], num_heads=2),
        helper.make_node("DynamicQuantizeLSTM", ["h", "lW", "lR", *[""] * 5, "ws", "", "ws", ""], ["y"], hidden_size=2),
    ]
    for node in nodes:
        node.domain = "" if node.op_type in ("Gather", "DequantizeLinear") else "com.microsoft"
    return save(nodes, numbers, folder, name="codes.onnx")
