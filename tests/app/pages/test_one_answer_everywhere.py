"""The same question on the page, on the command line and in Python gets the same numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app.cli import cli
from stats.baseline import Baseline
from stats.enrolment import Enrolment
from stats.plan import Arm, Design, Guardrail, Plan, SuccessMetric
from stats.plan_price import price_of_peeking
from stats.plan_size import size_plan

UP_TO, ANY_TIME, AUTO = (
    "Up to a planned end (group-sequential)",
    "At any time (always valid)",
    "Whichever fits, and why (auto)",
)
FEW = (4000, 3600, 3300, 3100)
METRIC = (SuccessMetric(name="rate"),)
ARMS = (Arm(name="c", share=0.5), Arm(name="a", share=0.3), Arm(name="b", share=0.2))
QUESTIONS = {
    "fixed": ({"end": "28"}, "--days 28", Plan(minimum_effect=0.05, success=METRIC, design=Design.FIXED, end=28.0)),
    "group-sequential": (
        {"design": UP_TO, "end": "28", "looks": "7, 14, 21", "reserve": "20", "daily": "4000, 3600, 3300, 3100"},
        "--design group_sequential --days 28 --looks 7,14,21 --reserve 0.2 --daily 4000,3600,3300,3100",
        Plan(
            minimum_effect=0.05,
            success=METRIC,
            design=Design.GROUP_SEQUENTIAL,
            end=28.0,
            looks=(7.0, 14.0, 21.0),
            reserve=0.2,
        ),
    ),
    "always valid, open": (
        {"design": ANY_TIME},
        "--design always_valid",
        Plan(minimum_effect=0.05, success=METRIC, design=Design.ALWAYS_VALID),
    ),
    "auto": (
        {"design": AUTO, "end": "14"},
        "--design auto --days 14",
        Plan(minimum_effect=0.05, success=METRIC, end=14.0),
    ),
    "three arms": (
        {"treatments": "2", "control_share": "50, 30, 20", "end": "28"},
        "--treatments 2 --control-share 0.5,0.3,0.2 --days 28",
        Plan(minimum_effect=0.05, success=METRIC, arms=ARMS, control="c", design=Design.FIXED, end=28.0),
    ),
    "no harm": (
        {"goal": "Show no harm", "design": UP_TO, "end": "28"},
        "--design group_sequential --days 28",
        Plan(
            minimum_effect=0.05,
            guardrails=(Guardrail(name="rate", margin=0.05),),
            design=Design.GROUP_SEQUENTIAL,
            end=28.0,
        ),
    ),
}


@pytest.mark.parametrize(("query", "options", "plan"), QUESTIONS.values(), ids=QUESTIONS.keys())
def test_page_command_and_python_give_the_same_numbers(
    open_page: Callable[..., AppTest],
    shown: Callable[[AppTest], str],
    tmp_path: Path,
    query: dict[str, str],
    options: str,
    plan: Plan,
) -> None:
    known, curve = {"rate": Baseline.of_proportion(0.1)}, Enrolment.from_daily(FEW) if "daily" in query else None
    size = size_plan(plan, known, curve)
    change = "--margin" if plan.guardrails else "--effect"
    told = CliRunner().invoke(cli, ["power", "--baseline", "0.1", change, "0.05", *options.split(), "-o", "json"])
    assert told.exit_code == 0, told.output
    record = json.loads(told.stdout)
    assert (record["units"], list(record["arms"].values())) == (size.units, list(size.arms.values()))
    html = shown(open_page(tmp_path, "sample-size", **query))
    found = re.search(r'data-field="total" data-value="(\d+)"', html)
    assert found is not None
    assert int(found[1]) == size.units
    prices = price_of_peeking(plan, known, curve).prices
    for price, listed in zip(prices, record["price_of_peeking"]["designs"], strict=True):
        assert listed["maximum"] == pytest.approx(price.maximum, rel=1e-12)
        assert f"{sum(math.ceil(price.maximum * arm.share * (1 - 1e-12)) for arm in plan.arms):,}" in html
