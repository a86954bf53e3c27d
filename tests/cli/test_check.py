"""`lmd check`: exit codes, the table, and the document."""

import json
from pathlib import Path

from tests.cli.conftest import Lmd

POLICY = "[[rule]]\nfinding = 'rank_99'\nat_least = {least}\n\n[[rule]]\nfinding = 'spectral_norm'\nat_most = 100\n"


def test_exit_codes_of_a_check(lmd: Lmd, files: Path):
    model, policy = files / "ok.pt", files / "policy.toml"
    policy.write_text(POLICY.format(least=1))
    passed = lmd("check", str(model), "--policy", str(policy))
    assert passed.exit_code == 0, passed.stderr
    assert "2 of 2 rules met" in passed.stdout
    policy.write_text(POLICY.format(least=500))
    broken = lmd("check", str(model), "--policy", str(policy))
    assert broken.exit_code == 1
    assert "broken" in broken.stdout
    document = json.loads(lmd("check", str(model), "--policy", str(policy), "--json").stdout)
    assert document["passed"] is False
    assert document["breaches"][0]["layer"] == "0"
    assert lmd("check", str(model), "--policy", str(policy), "--quiet").stdout == ""


def test_bad_input_of_a_check(lmd: Lmd, files: Path):
    model, policy = files / "ok.pt", files / "policy.toml"
    assert lmd("check", str(model), "--policy", str(policy)).exit_code == 3
    policy.write_text("[[rule]]\nfinding = 'nothing'\nat_least = 1\n")
    assert lmd("check", str(model), "--policy", str(policy)).exit_code == 2
    policy.write_text(POLICY.format(least=1))
    assert lmd("check", str(files / "absent.pt"), "--policy", str(policy)).exit_code == 3
