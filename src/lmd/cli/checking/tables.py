"""What a check found, for people."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from lmd.cli.plain import plain
from lmd.cli.tables import console_for_tables

if TYPE_CHECKING:
    from lmd.pipeline.checking.check import Breach, Checked

__all__ = ["check_table"]


def check_table(found: "Checked") -> None:
    """One line for each rule, and one for each layer that breaks one."""
    console = console_for_tables()
    broken = {breach.rule for breach in found.breaches}
    count = len(found.policy.rules)
    verdict = "passed" if found.passed else "failed"
    head = f"{found.network}: {verdict}, {count - len(broken)} of {count} rule{'s' if count > 1 else ''} met"
    console.print(Text(plain(head), style="bold"))
    for number, (rule, checked) in enumerate(zip(found.policy.rules, found.counts, strict=True), 1):
        state, style = ("not met", "red") if number in broken else ("met", "green")
        where = "" if rule.layers == "*" else f", layers {rule.layers}"
        console.print(Text.assemble((f"{state:<7}", style), plain(f" {number}. {rule}{where} ({checked} checked)")))
    if found.breaches:
        console.print(_breaches(found.breaches))


def _breaches(breaches: "tuple[Breach, ...]") -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule", justify="right")
    table.add_column("layer", overflow="fold")
    for title in ("value", "± error", "limit"):
        table.add_column(title, justify="right")
    table.add_column("verdict")
    for breach in breaches:
        numbers = [
            "-" if number is None else format(number, ".4g") for number in (breach.value, breach.error, breach.limit)
        ]
        verdict = f"{breach.verdict}{': ' if breach.reason else ''}{breach.reason}"
        table.add_row(*(Text(plain(cell)) for cell in (str(breach.rule), breach.layer or "-", *numbers, verdict)))
    return table
