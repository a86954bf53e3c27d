"""Names and shapes that allow several readings: siblings decide, the rest is a guess with its alternatives."""

import pytest

from lmd.sources.reading import Reading, TensorRecord
from lmd.sources.rules.read_names import read_names
from lmd.sources.rules.tensor_roles import effective_names, with_roles


def read(kinds: dict[str, str] | None = None, *, ordered: bool = True, **shapes: tuple[int, ...]) -> dict[str, Reading]:
    names = {name.replace("__", "."): shape for name, shape in shapes.items()}
    records = with_roles(TensorRecord(name, shape, "float32") for name, shape in names.items())
    return {reading.path: reading for reading in read_names(records, kinds, ordered=ordered)}


def test_an_embedding_with_a_bias_is_dense():
    assert read(embedding__weight=(64, 92), embedding__bias=(64,))["embedding"].kind == "dense"


def test_an_embedding_without_bias_is_what_its_neighbours_are_wide_as():
    table = read(embedding__weight=(92, 64), fc__weight=(10, 64), fc__bias=(10,))["embedding"]
    assert (table.kind, table.confidence) == ("embedding", "siblings")
    linear = read(embedding__weight=(64, 92), fc__weight=(10, 64), fc__bias=(10,))["embedding"]
    assert (linear.kind, linear.confidence, linear.alternatives) == (
        "dense",
        "siblings",
        ("embedding", "transposed_dense"),
    )


def test_an_embedding_nobody_speaks_for_is_a_guess():
    alone = read(embedding__weight=(64, 92))["embedding"]
    assert (alone.kind, alone.confidence, alone.alternatives) == ("embedding", "guess", ("dense",))


def test_square_transposed_layers_follow_their_siblings():
    found = read(c_attn__weight=(8, 24), c_attn__bias=(24,), c_proj__weight=(8, 8), c_proj__bias=(8,))
    assert found["c_attn"].kind == "transposed_dense"
    assert (found["c_proj"].kind, found["c_proj"].confidence) == ("transposed_dense", "siblings")


def test_transposed_convolutions_of_equal_channels_follow_their_siblings():
    found = read(
        up1__weight=(32, 32, 4, 4), up1__bias=(32,), up2__weight=(32, 1, 4, 4), up2__bias=(1,),
        down1__weight=(32, 32, 4, 4), down1__bias=(32,), down0__weight=(32, 1, 4, 4), down0__bias=(32,),
    )  # fmt: skip
    assert found["up1"].kind == "transposed_kernel_matrix"
    assert found["up1"].confidence == "siblings"
    assert found["down1"].kind == "kernel_matrix"
    assert found["down1"].alternatives == ("transposed_kernel_matrix",)


def test_depthwise_kernels_are_grouped_and_a_first_grey_picture_is_not():
    found = read(c0__weight=(8, 1, 3, 3), c0__bias=(8,), c1__weight=(8, 1, 3, 3), c1__bias=(8,))
    assert found["c0"].kind == "kernel_matrix"
    depthwise = found["c1"]
    assert (depthwise.kind, depthwise.settings) == ("grouped_kernel_matrix", {"groups": 8})
    assert (depthwise.confidence, depthwise.alternatives) == ("guess", ("kernel_matrix",))


def test_kernels_side_by_side_are_branches_where_the_next_layer_reads_them_all():
    alone = read(a__weight=(8, 1, 3, 3), a__bias=(8,), b__weight=(8, 1, 3, 3), b__bias=(8,))["b"]
    assert (alone.kind, alone.confidence) == ("kernel_matrix", "guess")
    joined = read(
        a__weight=(8, 1, 3, 3), a__bias=(8,), b__weight=(8, 1, 3, 3), b__bias=(8,), fc__weight=(3, 16), fc__bias=(3,)
    )["b"]  # fmt: skip
    assert (joined.kind, joined.confidence) == ("kernel_matrix", "shape")


@pytest.mark.parametrize(("gates", "kind"), [(1, "RNN"), (3, "GRU"), (4, "LSTM")])
def test_recurrent_layers_are_told_by_their_number_of_gates(gates, kind):
    found = read(l__weight_ih_l0=(gates * 5, 3), l__weight_hh_l0=(gates * 5, 5))["l"]
    assert (found.settings or {})["gates"] == gates, kind


def test_a_one_dimensional_weight_alone_is_a_guess():
    assert read(act__weight=(1,))["act"].confidence == "guess"
    slopes = read(act3__weight=(16,))["act3"]
    assert (slopes.kind, slopes.confidence, slopes.alternatives) == ("diagonal", "guess", ("vector",))
    assert read(norm__weight=(16,))["norm"].kind == "diagonal"


def test_the_user_has_the_last_word():
    assert read({"embedding": "dense"}, embedding__weight=(64, 92))["embedding"].kind == "dense"
    assert read({"*.weight": "diagonal"}, act__weight=(16,))["act"].kind == "diagonal"
    grouped = read({"c": "grouped_kernel_matrix"}, c__weight=(32, 8, 3, 3))["c"]
    assert grouped.settings == {"groups": 4}


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({"c": "convolution"}, "choose one of"),
        ({"c": "query"}, "needs tensors named as torch names them"),
        ({"c": "kernel_matrix:2"}, "a number goes with"),
        ({"c": "grouped_kernel_matrix:3"}, "do not divide"),
        ({"c": "heads:2"}, "fits no module that holds projections"),
        ({"nothing*": "dense"}, "fits no module"),
        ({"c": "dense"}, "kinds for it: kernel_matrix"),
    ],
)
def test_a_wrong_word_is_refused(kinds, words):
    with pytest.raises(ValueError, match=words):
        read(kinds, c__weight=(4, 4, 3, 3))


def test_parametrised_weights_count_as_one():
    names = ["a.weight_g", "a.weight_v", "b.weight_orig", "b.weight_u", "b.weight_v"]
    names += [f"c.parametrizations.weight.original{i}" for i in (0, 1)]
    names += ["d.parametrizations.weight.original", *(f"d.parametrizations.weight.0._{x}" for x in "uv")]
    assert set(effective_names(names)) == {"a.weight", "b.weight", "c.weight", "d.weight"}


def test_buffers_are_told_from_parameters():
    records = [
        TensorRecord("bn.running_mean", (4,), "float32"),
        TensorRecord("bn.num_batches_tracked", (), "int64"),
        TensorRecord("x.position_ids", (1, 9), "int64"),
        TensorRecord("x.weight", (4, 4), "float32"),
        TensorRecord("b.weight_orig", (4, 4), "float32"),
        TensorRecord("b.weight_u", (4,), "float32"),
    ]
    assert [r.role for r in with_roles(records)] == ["buffer", "buffer", "buffer", "parameter", "parameter", "buffer"]


def test_raw_tensors_take_a_kind():
    found = read({"W1": "transposed_dense", "b1": "diagonal"}, W1=(20, 40), b1=(40,), W2=(40, 5))
    assert (found["W1"].kind, found["W1"].confidence, found["W1"].shape) == ("transposed_dense", "declared", (20, 40))
    assert found["b1"].kind == "diagonal"
    assert found[""].roles == {"W2": "W2"}


def test_heads_are_the_users_to_say():
    attention = read({"a": "heads:4"}, a__in_proj_weight=(48, 16), a__out_proj__weight=(16, 16))["a"]
    assert (attention.settings or {})["heads"] == 4
    with pytest.raises(ValueError, match="do not divide"):
        read({"a": "heads:3"}, a__in_proj_weight=(48, 16))


def test_groups_may_be_said():
    assert read({"c": "grouped_kernel_matrix:2"}, c__weight=(32, 8, 3, 3))["c"].settings == {"groups": 2}
