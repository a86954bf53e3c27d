"""Graphs of layers: branches, shared layers, models in models, masks, attention; in both forms of configuration."""

from typing import Any

import numpy as np
import pytest
import torch

import lmd
from lmd.layers.walk import walk
from lmd.sources.open_network import open_network
from tests.keras_files import Config, chained, configured, write_archive, write_h5
from tests.references import keras_layers as by_hand
from tests.sources.keras.case import draw, positive


def run(path, *inputs):
    with torch.no_grad():
        return lmd.runnable(path)(*(torch.from_numpy(x) for x in inputs))


def close(found, wanted) -> bool:
    return found.shape == wanted.shape and np.abs(found.numpy() - wanted).max() < 1e-5 * max(1.0, np.abs(wanted).max())


def node(layer: str, call: int = 0, output: int = 0, **named: Any) -> list[Any]:
    return [layer, call, output, named]


def tensor(layer: str, call: int = 0, output: int = 0) -> dict[str, Any]:
    history = {"shape": [None, 3], "dtype": "float32", "keras_history": [layer, call, output]}
    return {"class_name": "__keras_tensor__", "config": history}


def called(layer: dict[str, Any], *nodes: Any) -> dict[str, Any]:
    return {**layer, "name": layer["config"]["name"], "inbound_nodes": list(nodes)}


def functional(layers, inputs, outputs, name="model") -> dict[str, Any]:
    config = {
        "name": name,
        "layers": layers,
        "input_layers": [[i, 0, 0] for i in inputs],
        "output_layers": [list(o) if isinstance(o, tuple) else [o, 0, 0] for o in outputs],
    }
    return {"class_name": "Functional", "config": config}


def source(name: str, *shape: int | None) -> dict[str, Any]:
    return called(configured("InputLayer", name, batch_input_shape=[None, *shape]))


W, B, V = draw(3, 4), draw(4), draw(8, 2)


def test_branches_and_a_shared_layer_in_the_form_of_keras_2(tmp_path):
    layers = [
        source("a", 3),
        source("b", 3),
        called(configured("Dense", "shared", units=4, activation="tanh"), [node("a")], [node("b")]),
        called(configured("Concatenate", "both", axis=-1), [node("shared", 0), node("shared", 1)]),
        called(configured("Dense", "out", units=2, use_bias=False), [node("both")]),
        called(configured("Add", "sum"), [node("shared", 0), node("shared", 1)]),
    ]
    config = functional(layers, ["a", "b"], ["out", "sum"])
    weights = {
        "a": [],
        "b": [],
        "shared": [("shared/kernel:0", W), ("shared/bias:0", B)],
        "both": [],
        "out": [("out/kernel:0", V)],
        "sum": [],
    }
    path = write_h5(tmp_path / "m.h5", config, weights)
    a, b = draw(5, 3), draw(5, 3)
    one, two = (np.tanh(x @ W + B) for x in (a, b))
    found = run(path, a, b)
    assert close(found[0], np.concatenate([one, two], 1) @ V)
    assert close(found[1], one + two)
    assert [row.name for row in lmd.decompose(path).layers] == ["shared", "out"]


def test_the_same_in_the_form_of_keras_3(tmp_path):
    def layer(class_name, name, *nodes, **settings):
        entry = called(configured(class_name, name, **settings), *nodes)
        return {"module": "keras.layers", "registered_name": None, **entry}

    layers = [
        layer("InputLayer", "a", batch_shape=[None, 3]),
        layer("InputLayer", "b", batch_shape=[None, 3]),
        layer(
            "Dense",
            "shared",
            {"args": [tensor("a")], "kwargs": {}},
            {"args": [tensor("b")], "kwargs": {}},
            activation={"module": "builtins", "class_name": "function", "config": "tanh"},
        ),
        layer("Concatenate", "both", {"args": [[tensor("shared", 0), tensor("shared", 1)]], "kwargs": {}}, axis=-1),
        layer("Dense", "out", {"args": [tensor("both")], "kwargs": {}}, use_bias=False),
        {
            **layer("Add", "plus", {"args": [tensor("shared", 0), tensor("shared", 1)], "kwargs": {}}),
            "module": "keras.src.ops.numpy",
        },
    ]
    config = functional(layers, ["a", "b"], ["out", "plus"])
    config["config"]["output_layers"] = [["out", 0, 0], ["plus", 0, 0]]
    arrays = {"layers/dense/vars/0": W, "layers/dense/vars/1": B, "layers/dense_1/vars/0": V}
    path = write_archive(tmp_path / "m.keras", config, arrays)
    a, b = draw(5, 3), draw(5, 3)
    one, two = (np.tanh(x @ W + B) for x in (a, b))
    found = run(path, a, b)
    assert close(found[0], np.concatenate([one, two], 1) @ V)
    assert close(found[1], one + two)


def _nested() -> dict[str, Any]:
    inner = chained(
        [
            configured("Dense", "first", units=4),
            configured("BatchNormalization", "norm", axis=[1]),
            configured("Dense", "second", units=4),
        ],
        shape=(3,),
        name="inner",
    )
    return chained([inner, configured("Dense", "last", units=2, use_bias=False)], shape=None)


NESTED = {
    "first": (draw(3, 4), draw(4)),
    "norm": (draw(4), draw(4), draw(4), draw(4) ** 2 + 0.1),
    "second": (draw(4, 4), draw(4)),
    "last": (draw(4, 2),),
}


def _nested_by_hand(x):
    x = by_hand.dense(x, *NESTED["first"])
    x = by_hand.dense(by_hand.batch_normalised(x, *NESTED["norm"]), *NESTED["second"])
    return by_hand.dense(x, *NESTED["last"])


@pytest.mark.parametrize("named", [True, False])
def test_a_model_in_a_model_whose_arrays_lie_in_one_group(named, tmp_path):
    def arrays(layer, *names):
        return [(f"{layer}/{n}:0", a) for n, a in zip(names, NESTED[layer], strict=False)]

    norm = arrays("norm", "gamma", "beta", "moving_mean", "moving_variance")
    inner = [*arrays("first", "kernel", "bias"), *norm[:2], *arrays("second", "kernel", "bias"), *norm[2:]]
    if not named:
        inner = [(f"variable_{place}", array) for place, (_, array) in enumerate(inner)]
    config = _nested()
    path = write_h5(tmp_path / "m.h5", config, {"inner": inner, "last": arrays("last", "kernel")})
    x = draw(6, 3)
    assert close(run(path, x), _nested_by_hand(x.astype(float)))
    names = [row.name for row in lmd.decompose(path).layers]
    assert names == ["inner.first", "inner.norm", "inner.second", "last"]


@pytest.mark.parametrize("named", [True, False])
def test_a_model_in_a_model_of_keras_3(named, tmp_path):
    groups = {
        "layers/sequential/layers/dense": NESTED["first"],
        "layers/sequential/layers/batch_normalization": NESTED["norm"],
        "layers/sequential/layers/dense_1": NESTED["second"],
        "layers/dense": NESTED["last"],
    }
    if named:
        # in another order than that of the layers: the names that newer files keep decide
        swap = {"layers/sequential/layers/dense": NESTED["second"], "layers/sequential/layers/dense_1": NESTED["first"]}
        groups |= swap
    arrays = {f"{group}/vars/{n}": array for group, own in groups.items() for n, array in enumerate(own)}
    names = {
        "layers/sequential": "inner",
        "layers/sequential/layers/dense": "second",
        "layers/sequential/layers/dense_1": "first",
        "layers/sequential/layers/batch_normalization": "norm",
        "layers/dense": "last",
    }
    path = write_archive(tmp_path / "m.keras", _nested(), arrays, names=names if named else None)
    x = draw(6, 3)
    assert close(run(path, x), _nested_by_hand(x.astype(float)))


def test_masks_reach_recurrent_layers(tmp_path):
    table, kernel, recurrent, bias = draw(7, 3), draw(3, 8), draw(2, 8), draw(8)
    layers = [
        configured("Embedding", "table", input_dim=7, output_dim=3, mask_zero=True),
        configured("Dropout", "drop", rate=0.5),
        configured("LSTM", "steps", units=2, return_sequences=True),
        configured("GlobalAveragePooling1D", "mean"),
    ]
    weights = {
        "table": [("table/embeddings:0", table)],
        "drop": [],
        "steps": [("steps/kernel:0", kernel), ("steps/recurrent_kernel:0", recurrent), ("steps/bias:0", bias)],
        "mean": [],
    }
    path = write_h5(tmp_path / "m.h5", chained(layers, shape=(None,)), weights)
    x = np.array([[1, 2, 0, 0], [3, 0, 4, 5]])
    mask = x != 0
    steps = by_hand.lstm(table[x].astype(float), kernel, recurrent, bias, mask=mask)
    wanted = (steps * mask[..., None]).sum(1) / mask.sum(1)[:, None]
    assert close(run(path, x), wanted)


@pytest.mark.parametrize("causal", [True, False])
def test_multi_head_attention(causal, tmp_path):
    arrays = [draw(6, 2, 3), draw(2, 3), draw(6, 2, 3), draw(2, 3), draw(6, 2, 4), draw(2, 4), draw(2, 4, 6), draw(6)]
    parts = ("query", "key", "value", "attention_output")
    names = [f"heads/{part}/{role}:0" for part in parts for role in ("kernel", "bias")]
    named = {"value": ["x", 0, 0], **({"use_causal_mask": True} if causal else {})}
    layers = [
        source("x", 5, 6),
        called(configured("MultiHeadAttention", "heads", num_heads=2, key_dim=3, value_dim=4), [node("x", **named)]),
    ]
    config = functional(layers, ["x"], ["heads"])
    path = write_h5(tmp_path / "m.h5", config, {"x": [], "heads": list(zip(names, arrays, strict=True))})
    x = draw(3, 5, 6)
    assert close(run(path, x), by_hand.multi_head(*(x.astype(float),) * 3, arrays, causal=causal))
    rows = {row.name: row.entry["kind"] for row in lmd.decompose(path).layers}
    assert {"query", "key", "value", "attention_output", "query_key", "value_output"} <= set(rows.values())
    assert "heads.query_key.1" in rows


@pytest.mark.parametrize("before", ["", "_"])
def test_multi_head_attention_of_keras_3(before, tmp_path):
    arrays = [draw(6, 2, 3), draw(2, 3), draw(6, 2, 3), draw(2, 3), draw(6, 2, 4), draw(2, 4), draw(2, 4, 6), draw(6)]
    places = [f"{before}{part}_dense/vars/{n}" for part in ("query", "key", "value", "output") for n in (0, 1)]
    entry = called(
        configured("MultiHeadAttention", "heads", num_heads=2, key_dim=3, value_dim=4),
        {"args": [tensor("x"), tensor("x")], "kwargs": {}},
    )
    config = functional([source("x", 5, 6), {"module": "keras.layers", **entry}], ["x"], ["heads"])
    stored = {f"layers/multi_head_attention/{p}": array for p, array in zip(places, arrays, strict=True)}
    path = write_archive(tmp_path / "m.keras", config, stored)
    x = draw(3, 5, 6)
    assert close(run(path, x), by_hand.multi_head(*(x.astype(float),) * 3, arrays))
    statuses = {t.name: t.status for t in lmd.decompose(path).coverage.tensors}
    assert statuses["heads.query.bias"] == "vector"


def test_paths_written_under_windows(tmp_path):
    config = chained([{"module": "keras.layers", **configured("Dense", "d")}], shape=(3,))
    arrays = {f"_layer_checkpoint_dependencies\\dense/vars/{n}": array for n, array in enumerate((W, B))}
    path = write_archive(tmp_path / "m.keras", config, arrays)
    x = draw(2, 3)
    assert close(run(path, x), x @ W + B)


def test_a_configuration_of_keras_1(tmp_path):
    layers = [
        configured("Convolution2D", "c", nb_filter=4, nb_row=2, nb_col=3, border_mode="same", dim_ordering="tf"),
        configured("Flatten", "f"),
        configured("Dense", "d", output_dim=2, activation="relu", bias=True),
    ]
    layers[0]["config"]["subsample"] = [2, 2]
    config = {"class_name": "Sequential", "config": chained(layers, shape=(6, 5, 2))["config"]["layers"]}
    kernel, shift, matrix, bias = draw(2, 3, 2, 4), draw(4), draw(36, 2), draw(2)
    weights = {"c": [("c_W:0", kernel), ("c_b:0", shift)], "f": [], "d": [("d_W:0", matrix), ("d_b:0", bias)]}
    path = write_h5(tmp_path / "m.h5", config, weights, version="1.2.2")
    x = draw(3, 6, 5, 2)
    inner = by_hand.convolution(x.astype(float), kernel, shift, strides=(2, 2), padding="same")
    assert close(run(path, x), np.maximum(inner.reshape(3, -1) @ matrix + bias, 0))


@pytest.mark.parametrize("additive", [True, False])
def test_attention_without_projections(additive, tmp_path):
    name = "AdditiveAttention" if additive else "Attention"
    scale = draw(4) if additive else np.array(0.7, dtype=np.float32)
    layers = [
        source("q", 3, 4),
        source("v", 5, 4),
        called(configured(name, "it", use_scale=True), [node("q"), node("v")]),
    ]
    path = write_h5(tmp_path / "m.h5", functional(layers, ["q", "v"], ["it"]), {"it": [("it/scale:0", scale)]})
    q, v = draw(2, 3, 4), draw(2, 5, 4)
    function = by_hand.additive_attention if additive else by_hand.attention
    assert close(run(path, q, v), function(q, v, v, scale))


@pytest.mark.parametrize("kind", ["Subtract", "Multiply", "Average", "Maximum", "Minimum"])
def test_merging(kind, tmp_path):
    layers = [
        source("a", 3),
        source("b", 3),
        called(configured("Dense", "d", units=3), [node("a")]),
        called(configured(kind, "it"), [node("d"), node("b")]),
    ]
    kernel, bias = draw(3, 3), draw(3)
    weights = {"d": [("d/kernel:0", kernel), ("d/bias:0", bias)]}
    path = write_h5(tmp_path / "m.h5", functional(layers, ["a", "b"], ["it"]), weights)
    a, b = draw(4, 3), draw(4, 3)
    first = a @ kernel + bias
    functions = {"Subtract": np.subtract, "Multiply": np.multiply, "Maximum": np.maximum, "Minimum": np.minimum}
    assert close(run(path, a, b), functions[kind](first, b) if kind in functions else (first + b) / 2)


@pytest.mark.parametrize(("axes", "equation"), [(1, "nda,ndb->nab"), ([2, 1], "nad,ndb->nab"), (-1, "nad,nbd->nab")])
def test_dot_products(axes, equation, tmp_path):
    layers = [source("a", 4, 4), source("b", 4, 4), called(configured("Dot", "it", axes=axes), [node("a"), node("b")])]
    arrays = {"optimizer_weights": [("iterations:0", np.ones(1, np.float32))]}
    path = write_h5(tmp_path / "m.h5", functional(layers, ["a", "b"], ["it"]), arrays)
    a, b = draw(2, 4, 4), draw(2, 4, 4)
    assert close(run(path, a, b), np.einsum(equation, a, b))


def test_layers_of_ones_own_are_named_and_their_weights_read(tmp_path):
    layers = [
        configured("Dense", "dense", units=4),
        configured("Lambda", "secret", function=["4wEAAAA", None, None], function_type="lambda"),
        configured("MyPackage>Mixer", "mixer", width=4),
        configured("Dense", "out", units=2),
    ]
    weights = {
        "dense": [("dense/kernel:0", W), ("dense/bias:0", B)],
        "secret": [],
        "mixer": [("mixer/mixing:0", draw(4, 4)), ("mixer/shift:0", draw(4))],
        "out": [("out/kernel:0", draw(4, 2)), ("out/bias:0", draw(2))],
    }
    path = write_h5(tmp_path / "m.h5", chained(layers, shape=(3,)), weights)
    network = open_network(path)
    assert not network.runs
    assert any("'secret' (Lambda)" in why for why in network.facts["cannot run"])
    assert any("'mixer' (Mixer)" in why for why in network.facts["cannot run"])
    with pytest.raises(ValueError, match="Lambda"):
        lmd.runnable(network)
    atlas = lmd.decompose(path)
    assert [row.name for row in atlas.layers] == ["dense", "mixer.mixing", "out"]
    assert atlas.coverage.accounted == 1.0


def test_layers_for_cudnn(tmp_path):
    gates = [draw(3, 4) for _ in range(4)]
    own = [draw(4, 4) for _ in range(4)]
    biases = draw(32)
    # cuDNN's matrix of each gate is (units, in), kept row by row under the shape (in, units)
    kept = np.concatenate([gate.T.reshape(3, 4) for gate in gates], axis=1)
    kept_own = np.concatenate([gate.T for gate in own], axis=1)
    weights = {"it": [("it/kernel:0", kept), ("it/recurrent_kernel:0", kept_own), ("it/bias:0", biases)]}
    path = write_h5(tmp_path / "m.h5", chained([configured("CuDNNLSTM", "it", units=4)], shape=(5, 3)), weights)
    x = draw(2, 5, 3)
    kernel, recurrent = np.concatenate(gates, axis=1), np.concatenate(own, axis=1)
    wanted = by_hand.lstm(x.astype(float), kernel, recurrent, biases[:16] + biases[16:])[:, -1]
    assert close(run(path, x), wanted)


def test_bfloat16_and_numbers_in_the_other_order(tmp_path):
    kernel = draw(3, 4)
    dense = chained([{"module": "keras.layers", **configured("Dense", "d", use_bias=False)}], shape=(3,))
    short = torch.from_numpy(kernel).bfloat16()
    bits = short.view(torch.int16).numpy().view("V2")
    half = write_archive(tmp_path / "m.keras", dense, {"layers/dense/vars/0": bits})
    assert open_network(half).dtype == "bfloat16"
    x = draw(2, 3)
    assert close(run(half, x), x @ short.float().numpy())
    other = write_h5(tmp_path / "m.h5", dense, {"d": [("d/kernel:0", kernel.astype(">f4"))]})
    assert close(run(other, x), x @ kernel)


@pytest.mark.parametrize("version", [2, 3])
def test_a_model_at_every_step(version, tmp_path):
    kernel, shift, gain, W = draw(3, 3, 2, 4), draw(4), [draw(4) for _ in range(3)] + [positive(4)], draw(64, 3)
    module = {"module": "keras.layers", "registered_name": None} if version == 3 else {}
    inner = chained(
        [
            {**module, **configured("Conv2D", "c", filters=4, kernel_size=[3, 3], padding="same")},
            {**module, **configured("BatchNormalization", "n")},
            {**module, **configured("Flatten", "f")},
            {**module, **configured("Dense", "d", units=3, use_bias=False)},
        ],
        shape=(4, 4, 2),
        name="cnn",
    )
    wrapper = {**module, **configured("TimeDistributed", "steps", layer={**module, **inner})}
    config = chained([wrapper], shape=(5, 4, 4, 2))
    if version == 2:
        names = ("kernel", "bias", "gamma", "beta", "kernel_1", "moving_mean", "moving_variance")
        arrays = [kernel, shift, *gain[:2], W, *gain[2:]]
        weights = {"steps": [(f"steps/{name}:0", array) for name, array in zip(names, arrays, strict=True)]}
        path = write_h5(tmp_path / "m.h5", config, weights)
    else:
        parts = {"conv2d": [kernel, shift], "batch_normalization": gain, "dense": [W]}
        place = "layers/time_distributed/layer/layers"
        stored = {f"{place}/{name}/vars/{n}": a for name, arrays in parts.items() for n, a in enumerate(arrays)}
        path = write_archive(tmp_path / "m.keras", config, stored)
    x = draw(2, 5, 4, 4, 2)
    flat = by_hand.convolution(x.reshape(10, 4, 4, 2).astype(float), kernel, shift, padding="same")
    wanted = by_hand.batch_normalised(flat, *gain).reshape(10, -1) @ W
    assert close(run(path, x), wanted.reshape(2, 5, 3))
    found = {row.name: row.kind for row in walk(open_network(path)).layers if not row.view_of}
    assert found == {"steps.cnn.c": "kernel_matrix", "steps.cnn.n": "diagonal", "steps.cnn.d": "dense"}


def test_a_layer_may_have_the_path_of_one_in_a_model_beside_it(tmp_path):
    inner, W, V = chained([configured("Dense", "b", use_bias=False)], shape=(5,), name="a"), draw(5, 4), draw(4, 3)
    config = chained([inner, configured("Dense", "a.b", use_bias=False)], shape=None)
    path = write_h5(tmp_path / "m.h5", config, {"a": [("b/kernel:0", W)], "a.b": [("a.b/kernel:0", V)]})
    x = draw(2, 5)
    assert close(run(path, x), x.astype(float) @ W @ V)
    assert {row.name: row.shape for row in walk(open_network(path)).layers} == {"a.b": (4, 5), "a.b_": (3, 4)}


def constant_first(function: str, number: Any) -> Config:
    return {
        **configured("TFOpLambda", "it", function=function),
        "inbound_nodes": [["_CONSTANT_VALUE", -1, number, {"y": ["x", 0, 0], "name": None}]],
    }


def node_of_tensorflow(word: str, **constants: Any) -> Config:
    told = {"node_def": {"name": "n", "op": word, "attr": {"T": {"type": "DT_FLOAT"}}}, "constants": constants}
    return {**configured("TensorFlowOpLayer", "it", **told), "inbound_nodes": [[["x", 0, 0, {}]]]}


OPERATIONS = [
    (constant_first("math.subtract", 1.0), lambda x: 1 - x),
    (constant_first("math.divide", [1.0, 2.0, 3.0]), lambda x: np.array([1, 2, 3]) / x),
    (node_of_tensorflow("AddV2", **{"1": 3.0}), lambda x: x + 3),
    (node_of_tensorflow("Sub", **{"0": [1.0, 2.0, 3.0]}), lambda x: np.array([1, 2, 3]) - x),
    (node_of_tensorflow("Relu6"), lambda x: np.clip(x, 0, 6)),
]


@pytest.mark.parametrize(("layer", "wanted"), OPERATIONS)
def test_operations_with_numbers(layer, wanted, tmp_path):
    first = {**configured("InputLayer", "x", batch_input_shape=[None, 3]), "name": "x", "inbound_nodes": []}
    behind = {**configured("Dense", "d", use_bias=False), "name": "d", "inbound_nodes": [[["it", 0, 0, {}]]]}
    inside = {"layers": [first, {**layer, "name": "it"}, behind], "output_layers": [["d", 0, 0]]}
    config = {"class_name": "Functional", "config": {"name": "m", "input_layers": [["x", 0, 0]], **inside}}
    path = write_h5(tmp_path / "m.h5", config, {"d": [("d/kernel:0", np.eye(3, dtype=np.float32))]})
    x = draw(4, 3)
    assert close(run(path, x), wanted(x.astype(float)))


def test_other_nodes_of_tensorflow_are_named(tmp_path):
    layers = [configured("Dense", "d", use_bias=False), node_of_tensorflow("Cumsum")]
    path = write_h5(tmp_path / "m.h5", chained(layers, shape=(3,)), {"d": [("d/kernel:0", draw(3, 3))]})
    assert "the operation 'Cumsum' on 1 values is not known" in str(open_network(path).facts["cannot run"])


def test_a_slope_may_be_written_as_an_array(tmp_path):
    layers = [configured("Dense", "d", use_bias=False), configured("LeakyReLU", "l", alpha=ARRAY)]
    path = write_h5(tmp_path / "m.h5", chained(layers, shape=(3,)), {"d": [("d/kernel:0", W := draw(3, 3))]})
    x = draw(4, 3)
    assert close(run(path, x), np.where(x @ W > 0, x @ W, 0.1 * (x @ W)))


ARRAY = {"type": "ndarray", "value": 0.1}
"""As Keras 2.0 to 2.2 write a number of NumPy."""


@pytest.mark.parametrize(
    ("kind", "settings", "arrays", "shape", "words"),
    [
        ("Dense", {"units": 9}, {"kernel": (3, 4), "bias": (4,)}, (3,), "units 9"),
        ("Conv2D", {"filters": 9, "kernel_size": [3, 3]}, {"kernel": (3, 3, 3, 4)}, (8, 8, 3), "filters 9"),
        ("Conv2D", {"filters": 4, "kernel_size": [3, 3]}, {"kernel": (5, 5, 3, 4)}, (8, 8, 3), "kernel_size"),
        ("Embedding", {"input_dim": 50, "output_dim": 4}, {"embeddings": (10, 4)}, (7,), "input_dim 50"),
    ],
)
def test_a_configuration_that_its_arrays_contradict_is_not_run(kind, settings, arrays, shape, words, tmp_path):
    layer = configured(kind, "a", use_bias="bias" in arrays, **settings)
    weights = {"a": [(f"a/{role}:0", draw(*size)) for role, size in arrays.items()]}
    network = open_network(write_h5(tmp_path / "m.h5", chained([layer], shape=shape), weights))
    assert not network.runs
    assert any(words in reason for reason in network.facts["cannot run"])
