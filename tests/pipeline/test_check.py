"""A policy is met with the error and from the right side, or the check fails."""

from dataclasses import replace

import pytest
import torch

import lmd
from lmd.pipeline.checking.check import check
from lmd.pipeline.checking.policy import Policy, Rule, read_policy

torch.manual_seed(0)
ATLAS = lmd.decompose(torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.Linear(20, 12)))


def verdicts(*rules, atlas=ATLAS):
    found = check(atlas, Policy(rules))
    return [(breach.rule, breach.layer, breach.verdict) for breach in found.breaches]


def with_number(**changes):
    record = ATLAS.layers[0]
    found = {**record.entry["findings"]}
    found["stable_rank"] = {**found["stable_rank"], **changes}
    return replace(ATLAS, layers=(replace(record, entry={**record.entry, "findings": found}),))


def test_limits_hold_or_break():
    assert verdicts(Rule("stable_rank", at_least=1), Rule("stable_rank", at_most=12)) == []
    assert verdicts(Rule("rank_99", layers="1", at_least=13)) == [(1, "1", "broken")]
    assert verdicts(Rule("rank_99", kinds=("gate",), at_least=13)) == [(1, "", "unmeasured")]
    assert verdicts(Rule("spectral_norm", at_most_of_random=2, at_least_of_random=0.5)) == []
    assert len(verdicts(Rule("spectral_norm", at_most_of_random=0.5))) == 2


@pytest.mark.parametrize(
    ("number", "rule", "verdict"),
    [
        ({"value": 3.0, "error": 0.5}, Rule("stable_rank", at_least=2.6), "undecided"),
        ({"value": 3.0, "error": 0.5}, Rule("stable_rank", at_least=2.4), None),
        ({"value": 3.0, "error": 0.5}, Rule("stable_rank", at_least=3.6), "broken"),
        ({"value": 3.0, "error": 0.0, "direction": "lower"}, Rule("stable_rank", at_most=4), "undecided"),
        ({"value": 3.0, "error": 0.0, "direction": "lower"}, Rule("stable_rank", at_most=2), "broken"),
        ({"value": 3.0, "error": 0.0, "direction": "upper"}, Rule("stable_rank", at_least=2), "undecided"),
        ({"value": 3.0, "error": 0.0, "direction": "upper"}, Rule("stable_rank", at_most=4), None),
        ({"value": 3.0, "error": 0.0, "direction": "upper"}, Rule("stable_rank", at_most=2), "undecided"),
        ({"value": 3.0, "error": 0.0, "direction": "lower"}, Rule("stable_rank", at_least=4), "undecided"),
        ({"value": 3.0, "error": 0.0, "direction": "upper"}, Rule("stable_rank", at_least=4), "broken"),
        ({"value": 3.0, "baseline": None}, Rule("stable_rank", at_most_of_random=4), "unmeasured"),
        ({"value": None, "reason": "why"}, Rule("stable_rank", at_most=4), "unmeasured"),
    ],
)
def test_errors_and_sides_of_bounds_count(number, rule, verdict):
    found = verdicts(rule, atlas=with_number(**number))
    assert [name for _, _, name in found] == ([] if verdict is None else [verdict])


def test_words_may_be_forbidden_or_demanded():
    assert len(verdicts(Rule(never=("random",)))) == 2
    assert verdicts(Rule(never=("collapsed",)), Rule(always=("random",))) == []


def test_a_layer_that_failed_passes_no_rule():
    model = torch.nn.Sequential(torch.nn.Linear(12, 12), torch.nn.Linear(12, 12))
    model[1].weight.data[0, 0] = torch.nan
    atlas = lmd.decompose(model)
    assert verdicts(Rule("spectral_norm", at_most=1e3), atlas=atlas) == [(1, "1", "unmeasured")]
    assert verdicts(Rule(never=("collapsed",)), atlas=atlas) == [(1, "1", "unmeasured")]
    assert verdicts(Rule(never=("collapsed",), layers="0"), atlas=atlas) == []


def test_words_that_cannot_be_tested_do_not_count():
    atlas = lmd.decompose(torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.Linear(20, 3)))
    found = check(atlas, Policy((Rule(always=("random",)), Rule(never=("random",), layers="1"))))
    assert found.counts == (1, 0)
    assert [(breach.rule, breach.verdict) for breach in found.breaches] == [(2, "unmeasured")]


def test_findings_on_data_and_saved_atlases(tmp_path):
    data = torch.randn(30, 20)
    model = torch.nn.Linear(20, 3)
    targets = model(data).argmax(dim=1)
    rule = Policy((Rule("accuracy", at_least=0.99),))
    assert check(model, rule, data=data, targets=targets).passed
    atlas = lmd.decompose(model, data, targets=targets)
    folder = atlas.save(tmp_path / "atlas")
    assert check(folder, rule).passed
    with pytest.raises(ValueError, match="atlas"):
        check(folder, rule, data=data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rule]]\nfinding = 'stable_rnk'\nat_least = 1", "stable_rank"),
        ("[[rule]]\nfinding = 'stable_rank'", "a limit"),
        ("[[rule]]\nat_least = 1", "a finding"),
        ("[[rule]]\nnever = ['randm']", "random"),
        ("[[rule]]\nfinding = 'loss'\nat_last = 1", "at_least"),
        ("[[rule]]\nfinding = 'loss'\nat_least = '1'", "number"),
        ("[[rule]]\nfinding = 'loss'\nat_least = true", "number"),
        ("[[rule]]\nfinding = 'loss'\nat_least = nan", "number"),
        ("[[rule]]\nlayers = 3\nnever = 'random'", "type str"),
        ("[[rule]]\nnever = [1]", "list"),
        ("", "one \\[\\[rule\\]\\]"),
        ("rule = 3", "one \\[\\[rule\\]\\]"),
        ("limit = 3\n[[rule]]\nnever = 'random'", "limit"),
        ("[[rule", "TOML"),
    ],
)
def test_a_slip_of_the_pen_never_passes(tmp_path, text, words):
    policy = tmp_path / "policy.toml"
    policy.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_policy(policy)
