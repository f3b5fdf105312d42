"""A plan that cannot be kept is refused by page, command line, file and Python alike: the field, and the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app.cli import cli
from pipelines.config import create_workspace
from pipelines.definitions.loader import find_problems
from stats.group_sequential.spending import Spending
from stats.plan import Arm, Design, Guardrail, Plan, PlanError, SuccessMetric

UP_TO = "Up to a planned end (group-sequential)"
RATE = (SuccessMetric(name="rate"),)
LATE = Spending()
FILE = """
start = 2026-03-02T00:00:00Z
end = 2026-03-16T00:00:00Z
control = "control"
success = ["rate"]
variants = [{{ name = "control", share = {shares[0]} }}, {{ name = "treatment", share = {shares[1]} }}]
{guardrails}
[plan]
minimum_effect = 0.05
{plan}
"""
# Name: address of the page, options of `power`, changes of the file, keywords of the Plan; then the field as each
# calls it (page and Plan by the message's words, the others by name), and words of the reason.
CASES: dict[str, tuple[dict[str, str], str, dict[str, Any], dict[str, Any], tuple[str, str, str, str]]] = {
    "alpha 0": (
        {"alpha": "0"},
        "--effect 0.05 --alpha 0",
        {"plan": "alpha = 0.0"},
        {"success": RATE, "alpha": 0.0},
        ("false-positive rate lies above 0%", "--alpha", "plan.alpha", "alpha"),
    ),
    "alpha above a half": (
        {"alpha": "60"},
        "--effect 0.05 --alpha 0.6",
        {"plan": "alpha = 0.6"},
        {"success": RATE, "alpha": 0.6},
        ("at most 50%", "--alpha", "plan.alpha", "alpha"),
    ),
    "power below alpha": (
        {"power": "4"},
        "--effect 0.05 --power 0.04",
        {"plan": "power = 0.04"},
        {"success": RATE, "power": 0.04},
        ("must exceed the false-positive rate", "--power", "plan.power", "power"),
    ),
    "shares that do not add up": (
        {"control_share": "50, 30"},
        "--effect 0.05 --control-share 0.5,0.3",
        {"shares": (0.5, 0.3)},
        {"success": RATE, "arms": (Arm(name="control", share=0.5), Arm(name="treatment", share=0.3))},
        ("add up to 80%", "--control-share", "variants", "arms"),
    ),
    "a look after the end": (
        {"design": UP_TO, "end": "14", "looks": "7, 30"},
        "--effect 0.05 --design group_sequential --days 14 --looks 7,30",
        {"plan": 'design = "group_sequential"\nlooks = [7, 30]'},
        {"success": RATE, "design": Design.GROUP_SEQUENTIAL, "end": 14.0, "looks": (7.0, 30.0)},
        ("end", "--looks", "plan.looks[1]", "looks[1]"),
    ),
    "looks that go back": (
        {"design": UP_TO, "end": "14", "looks": "7, 3"},
        "--effect 0.05 --design group_sequential --days 14 --looks 7,3",
        {"plan": 'design = "group_sequential"\nlooks = [7, 3]'},
        {"success": RATE, "design": Design.GROUP_SEQUENTIAL, "end": 14.0, "looks": (7.0, 3.0)},
        ("", "--looks", "plan.looks[1]", "looks[1]"),
    ),
    "a margin of the wrong sign": (
        {"goal": "Show no harm", "effect": "-5"},
        "--margin -0.05",
        {"guardrails": 'guardrails = [{ metric = "load", margin = -0.05 }]'},
        {"guardrails": lambda: (Guardrail(name="load", margin=-0.05),)},
        ("A margin is the tolerated harm and positive", "--margin", "guardrails[0].margin", "margin"),
    ),
    "a reserve of everything": (
        {"design": UP_TO, "reserve": "100"},
        "--effect 0.05 --design group_sequential --reserve 1",
        {"plan": 'design = "group_sequential"\nreserve = 1.0'},
        {"success": RATE, "design": Design.GROUP_SEQUENTIAL, "end": 14.0, "reserve": 1.0},
        ("below 100%", "--reserve", "plan.reserve", "reserve"),
    ),
    "giving up on a guardrail": (
        {},
        "--margin 0.05 --design group_sequential --futility lan_demets_pocock",
        {
            "success": False,
            "guardrails": 'guardrails = [{ metric = "load", margin = 0.05 }]',
            "plan": 'design = "group_sequential"\nfutility = "lan_demets_pocock"',
        },
        {
            "guardrails": (Guardrail(name="load", margin=0.05),),
            "design": Design.GROUP_SEQUENTIAL,
            "end": 14.0,
            "futility": LATE,
        },
        ("", "--futility", "plan.futility", "futility"),
    ),
    "giving up in a fixed design": (
        {},
        "--effect 0.05 --futility lan_demets_pocock",
        {"plan": 'futility = "lan_demets_pocock"'},
        {"success": RATE, "design": Design.FIXED, "end": 14.0, "futility": LATE},
        ("", "--futility", "plan.futility", "futility"),
    ),
    "binding without giving up": (
        {},
        "--effect 0.05 --design group_sequential --binding",
        {"plan": 'design = "group_sequential"\nbinding = true'},
        {"success": RATE, "design": Design.GROUP_SEQUENTIAL, "end": 14.0, "binding": True},
        ("", "--binding", "plan.binding", "binding"),
    ),
}


@pytest.mark.parametrize(("query", "options", "changes", "keywords", "fields"), CASES.values(), ids=CASES.keys())
def test_an_invalid_plan_is_refused_with_field_and_reason_everywhere(
    open_page: Callable[..., AppTest],
    tmp_path: Path,
    query: dict[str, str],
    options: str,
    changes: dict[str, Any],
    keywords: dict[str, Any],
    fields: tuple[str, str, str, str],
) -> None:
    on_page, option, in_file, in_python = fields
    with pytest.raises(PlanError) as refused:
        in_code(keywords)
    assert in_python in refused.value.field
    assert refused.value.reason
    told = CliRunner().invoke(cli, ["power", "--baseline", "0.1", *options.split()])
    assert told.exit_code == 2
    assert option in told.output
    problems = [str(each) for each in find_problems(workspace(tmp_path / "ws", changes).root)]
    assert any(in_file in each for each in problems), problems
    if query:
        page = open_page(tmp_path / "page", "sample-size", **query)
        said = [each.value for each in page.error]
        assert said
        assert any(on_page in each for each in said), said


def in_code(keywords: dict[str, Any]) -> Plan:
    """The plan in Python; what is callable is made only here, because it may be refused itself."""
    made = {name: value() if callable(value) else value for name, value in keywords.items()}
    return Plan(minimum_effect=0.05, **made)


def workspace(root: Path, changes: dict[str, Any]) -> Any:
    made = create_workspace(root)
    kind = 'kind = "proportion"\nevent = "buy"\nbetter = "higher"\n'
    for name in ("rate", "load"):
        (made.metrics_dir / f"{name}.toml").write_text(kind, encoding="utf-8")
    text = FILE.format(**{"shares": (0.5, 0.5), "guardrails": "", "plan": ""} | changes)
    if changes.get("success") is False:
        text = text.replace('success = ["rate"]\n', "")
    (made.experiments_dir / "trial.toml").write_text(text, encoding="utf-8")
    return made


def test_the_same_file_without_the_mistake_is_accepted(tmp_path: Path) -> None:
    assert find_problems(workspace(tmp_path / "ws", {}).root) == ()
    plan = 'design = "group_sequential"\nlooks = [7]\nfutility = "lan_demets_pocock"\nbinding = true'
    assert find_problems(workspace(tmp_path / "more", {"plan": plan}).root) == ()
