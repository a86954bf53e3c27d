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
