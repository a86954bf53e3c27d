"""Headlines are computed from the document."""

from lmd.report.headlines import headlines, lead
from tests.report.documents import digits, empty, odd


def test_coverage_counts():
    assert lead(digits()[0]) == (
        "98.8\u202f% of 17,226 parameters lie inside a decomposed matrix; the rest is listed below with its reason."
    )
    assert "nothing to decompose" in lead(empty()[0])


def test_what_is_not_accounted_for_is_said():
    document = digits()[0]
    coverage = document["coverage"] | {"accounted": 0.5}
    assert "only 50.0\u202f% is accounted for" in lead(document | {"coverage": coverage})


def test_failed_layers_are_counted():
    number, label, compared = headlines(odd()[0])[0]
    assert (number, label) == ("2", "matrices decomposed")
    assert "1 layer failed" in compared


def test_headlines_follow_the_document():
    document = digits()[0]
    spikes = [layer["findings"]["spikes"]["value"] for layer in document["layers"]]
    said = {label: number for number, label, _ in headlines(document)}
    assert f"{sum(value > 0 for value in spikes)} of 3" in said.values()
    assert said["of unseen examples classified rightly"] == "97.1\u202f%"


def test_no_layer_makes_no_claim():
    assert [number for number, _, _ in headlines(empty()[0])] == ["0"]


def test_a_whole_input_says_more_than_a_patch():
    document = digits()[0]
    kernel = {**document["layers"][0], "name": "conv", "kind": "kernel_matrix", "view_of": None}
    numbers = {"operator_norm_lower": 81.2, "operator_norm_upper": 82.5}
    findings = {key: {"value": value, "baseline": 2.0} for key, value in numbers.items()}
    operator = {"name": "conv.operator", "kind": "conv_operator", "view_of": "conv", "findings": findings}
    other = {**operator, "name": "conv.operator.4x4", "findings": {k: {**v, "value": 3.0} for k, v in findings.items()}}
    said = headlines(document | {"layers": [kernel, operator, other]})
    number, label, beside = next(line for line in said if "stretches" in line[1])
    assert number.startswith("81.2")
    assert "conv stretches a whole input, and no input more than 82.5" in label
    assert "a random kernel like it: 2" in beside


def test_what_was_held_out_says_more_than_the_given_examples():
    document = empty()[0] | {"findings": {"accuracy": {"value": 0.999, "baseline": 0.1}}}
    assert headlines(document)[-1][:2] == ("99.9\N{NARROW NO-BREAK SPACE}%", "of the given examples classified rightly")
    held_out = document | {"training": {"accuracy_test": 0.972, "accuracy_train": 0.999}}
    assert headlines(held_out)[-1][1] == "of unseen examples classified rightly"
