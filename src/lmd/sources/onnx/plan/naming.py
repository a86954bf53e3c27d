"""Dotted paths of layers: from the names of their weights, of their nodes, or of what they make."""

import re
from collections.abc import Iterator

__all__ = ["candidates", "dotted", "is_generic", "module_of", "scope_of"]

_ROLES = frozenset(
    (
        "weight",
        "bias",
        "kernel",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
        "running_mean",
        "running_var",
        "in_proj_weight",
        "in_proj_bias",
        "weight_v",
        "weight_g",
        "weight_orig",
        "weight_quantized",
        "bias_quantized",
        "quantized",
        "parametrizations",
        "original",
        "original0",
        "original1",
        "depthwise_kernel",
        "pointwise_kernel",
        "recurrent_kernel",
        "embeddings",
        "DequantizeLinear_Output",
    )
)
"""What follows the path of a module in the name of its tensor."""
_OF_RECURRENT = re.compile(r"(weight|bias)_(ih|hh|hr)(_l\d+)?(_reverse)?")
_OF_TENSORFLOW = re.compile(
    r"(ReadVariableOp|BiasAdd|MatMul|[Ee]insum|Conv[123]D\w*|DepthwiseConv2dNative|depthwise|separable_conv2d|Relu6?|Sigmoid|Tanh"
    r"|FusedBatchNorm\w*|Tensordot|GatherV2|embedding_lookup|ExpandDims|Squeeze|Reshape|transpose|read|Add|add|mul|Mul"
    r"|Rsqrt|batchnorm|resource)(_\d+)?(__\d+)?"
)
_CALLS = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
_GENERIC = re.compile(r"onnx::.*|const_fold_opt.*|\d+|.*_output_\d+|_?\d+|val_\d+|.*initializer.*|", re.IGNORECASE)


def dotted(name: str) -> str:
    """A name without slashes and empty parts.

    >>> dotted("/enc/layer.0/attn/")
    'enc.layer.0.attn'
    """
    return ".".join(filter(None, re.split(r"[./]", name)))


def is_generic(name: str) -> bool:
    """Whether a name is an exporter's own: a number, or that of an operation.

    >>> is_generic("/rnn/Constant_1_output_0"), is_generic("val_12"), is_generic("anchors")
    (True, True, False)
    """
    return _GENERIC.fullmatch(name) is not None


def module_of(name: str) -> str:
    """The path in the name of a tensor; '' if it tells none.

    >>> module_of("encoder.layers.0.linear1.weight"), module_of("dense_1/kernel:0"), module_of("W0")
    ('encoder.layers.0.linear1', 'dense_1', '')
    """
    parts = [part for part in re.split(r"[./]", re.sub(r":\d+$", "", name)) if part]
    whole = len(parts)
    if parts and parts[-1].startswith("in_proj_"):
        return ".".join([*parts[:-1], "in_proj"])
    while parts and (parts[-1] in _ROLES or _OF_RECURRENT.fullmatch(parts[-1])):
        parts.pop()
    return ".".join(parts) if len(parts) < whole else ""


def scope_of(node: str) -> str:
    """The path in the name of a node; '' if it tells none.

    >>> scope_of("/enc/layer.0/attn/MatMul"), scope_of("/3/down/down.0/Conv"), scope_of("Conv_0")
    ('enc.layer.0.attn', '3.down.0', '')
    >>> scope_of("model/relu/Relu;model/conv2d_4/BiasAdd;model/conv2d_2/Conv2D;model/conv2d_4/Conv2D1")
    'model.conv2d_4'
    """
    pieces = node.split(";")
    # converters join the names of the operations that they merged; what adds the bias is the layer's own
    best = next((piece for piece in pieces if "BiasAdd" in piece), pieces[0])
    parts = [part for part in best.split("/") if part and not _CALLS.fullmatch(part)]
    if len(parts) < 2:
        return ""
    parts.pop()
    # torch writes the name of a sequence, then those of its children with its name in front
    parts = [part for part, inner in zip(parts, [*parts[1:], ""], strict=True) if not inner.startswith(f"{part}.")]
    while len(parts) > 1 and _OF_TENSORFLOW.fullmatch(parts[-1]):
        parts.pop()
    return dotted("/".join(parts))


def candidates(node: str, op: str, weight: str, bias: str, noted: str = "") -> Iterator[str]:
    """Paths a layer may have, best first, without end; ``noted`` is the one that the exporter wrote down."""
    scope, whole = scope_of(node), dotted(node.partition(";")[0])
    own = dotted(re.sub(r":\d+$", "", weight)).removesuffix("_quantized") if not _GENERIC.fullmatch(weight) else ""
    if _CALLS.match(own) or ";" in own:
        own = ""
    told = module_of(weight) if own else ""
    if op in ("Mul", "Div") and scope and own.rpartition(".")[0] == scope:
        # a gain that a module of other layers holds itself
        told = own
    if noted and not scope:
        whole = f"{noted}.{whole}"
    first = (told, module_of(bias), noted, scope, "" if told else own, whole)
    found = [path for path in dict.fromkeys(map(dotted, first)) if path] or [dotted(op) or "layer"]
    yield from found
    number = 2
    while True:
        yield f"{found[0]}_{number}"
        number += 1
