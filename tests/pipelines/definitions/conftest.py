"""A workspace with one good definition of each kind, and a way to put one mistake into it."""

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = {
    "metrics/revenue.toml": 'kind = "mean"\nevent = "purchase"\nbetter = "higher"\n',
    "metrics/complaints.toml": 'kind = "count"\nevent = "complaint"\nbetter = "lower"\nwindow_days = 7\n',
    "metrics/order_value.toml": """\
kind = "ratio"
better = "higher"
[numerator]
event = "purchase"
aggregate = "sum"
[denominator]
event = "purchase"
""",
    "experiments/checkout.toml": """\
title = "New checkout"
unit = "user"
start = 2026-03-02T00:00:00+01:00
end = 2026-03-16T00:00:00+01:00
control = "old"
success = ["revenue"]
secondary = ["order_value"]
[[variants]]
name = "old"
share = 0.5
[[variants]]
name = "new"
share = 0.5
[[guardrails]]
metric = "complaints"
margin = 0.05
[plan]
minimum_effect = 0.02
""",
    "reports/weekly.toml": 'cron = "0 8 * * MON"\ntimezone = "Europe/Berlin"\nexperiments = ["checkout"]\n',
}


@pytest.fixture
def root(tmp_path) -> Path:
    for name, text in GOOD.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def change(root) -> Callable[[str, str, str], None]:
    """Replace a piece of text, which must be there, in one file."""

    def apply(name: str, old: str, new: str) -> None:
        path = root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return apply
