"""Releases, flags and the advisor: what people see and do, empty, running, harmed and hostile."""

from __future__ import annotations

import html
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from pipelines.access.actors import local_actor
from pipelines.config import Workspace, create_workspace
from pipelines.definitions.loader import load_definitions
from pipelines.rollouts.control import arm, flags_folder, publish_flags
from pipelines.rollouts.evidence import Evidence, Reading
from pipelines.rollouts.flags.publish import published
from pipelines.rollouts.lifecycle import Happening
from pipelines.rollouts.log import RolloutLog
from stats.ramp import RampVerdict

Open = Callable[..., AppTest]
Shown = Callable[[AppTest], str]
BODY = {"phase": "running", "code": "collecting", "reason": "", "said": []}
HOSTILE = "<img src=x onerror=alert(1)>"
PLAN = """
title = "{title}"
strategy = "canary"
flag = "new_search"
[[stages]]
coverage = 0.05
approval = {approval}
[[stages]]
coverage = 0.5
[[guardrails]]
metric = "errors"
tolerance = 0.2
"""


def workspace(root: Path, *, title: str = "New search", approval: bool = False) -> Workspace:
    made = create_workspace(root)
    text = 'kind = "proportion"\nevent = "error"\nbetter = "lower"\n'
    (made.metrics_dir / "errors.toml").write_text(text, encoding="utf-8")
    (made.root / "rollouts").mkdir()
    plan = PLAN.format(title=title, approval=str(approval).lower())
    (made.root / "rollouts" / "search.toml").write_text(plan, encoding="utf-8")
    return made


def started(root: Path, *, verdict: RampVerdict = RampVerdict.OPEN, code: str = "collecting", **options) -> Workspace:
    """A canary at its first stage, with three readings."""
    made, actor = workspace(root, **options), local_actor()
    begun = datetime.now(UTC) - timedelta(hours=3)
    with RolloutLog(made.state_path) as log:
        state = arm(log, load_definitions(made.root).rollout("search"), actor=actor, at=begun)
        state = log.add(state, Happening.BEGIN, actor=actor, at=begun, code="begin", reason="The first stage begins.")
        log.add(state, Happening.HOLD, actor=actor, at=begun, code=code, reason="Not proven safe yet: Errors.")
        publish_flags(made, log)
        for hour in range(3):
            reading = Reading(
                metric="errors",
                title="Errors",
                arm="treatment",
                verdict=verdict,
                value=0.31,
                low=-0.12 + 0.01 * hour,
                high=None if hour == 0 else 0.9,
                tolerance=0.2,
                method="exact conditional e-process",
            )
            at = begun + timedelta(hours=hour + 1)
            evidence = Evidence(
                at=at,
                latest=at - timedelta(minutes=2),
                stage_units={"treatment": 100, "control": 100},
                run_units={"treatment": 100, "control": 100, "off": 1_800},
                readings=(reading,),
                sample_ratio_p=0.4,
            )
            body = BODY | {"code": code, "evidence": evidence.as_dict()}
            log.keep_reading("search", at=at, run=1, stage=0, body=body)
    return made


def state_of(made: Workspace):
    with RolloutLog(made.state_path) as log:
        return log.state("search")


def test_the_board_says_where_each_release_stands(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(started(tmp_path / "w").root, "releases")
    assert not page.exception
    text = shown(page)
    assert 'data-rollout="search"' in text
    for words in ("New search", "Running", "5% have it", "Not proven yet", "+31.0%", "Not proven safe yet: Errors."):
        assert words in text


def test_a_chart_of_a_release_follows_its_ticks(open_page: Open, tmp_path: Path) -> None:
    made = started(tmp_path / "w")

    def ticks() -> int:
        (chart,) = open_page(made.root, "releases", rollout="search").get("vega_lite_chart")
        return max(pa.ipc.open_stream(each.data.data).read_all().num_rows for each in chart.proto.datasets)

    assert ticks() == 3
    with RolloutLog(made.state_path) as log:
        *_, last = log.readings("search", run=1)
        log.keep_reading("search", at=datetime.now(UTC), run=1, stage=0, body={"evidence": last["evidence"]} | BODY)
    assert ticks() == 4


def test_one_release_shows_guardrails_steps_data_and_log(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(started(tmp_path / "w").root, "releases", rollout="search")
    assert not page.exception
    text = html.unescape(shown(page))
    for words in (
        "+31.0% (plausible −10.0% to +90.0%)",
        "Stage 1",
        "so far",
        "p = 0.4",
        "begin",
        "A person started it.",
    ):
        assert words in text
    assert len(page.get("vega_lite_chart")) == 1
    assert [button.label for button in page.button] == ["← All releases", "Pause", "Yes, off for everybody"]


def test_a_release_is_switched_off_from_its_page_with_a_reason(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    made = started(tmp_path / "w")
    page = open_page(made.root, "releases", rollout="search")
    page.text_input(key="kill_reason").set_value("complaints").run()
    next(button for button in page.button if button.label == "Yes, off for everybody").click().run()
    assert not page.exception
    assert "Rolled back" in shown(page)
    assert str(state_of(made).phase) == "rolled_back"
    assert "complaints" in state_of(made).reason
    file = published(flags_folder(made))
    assert file is not None
    assert file.flags["new_search"].targeting is None


def test_a_stage_is_approved_paused_and_resumed_from_its_page(open_page: Open, tmp_path: Path) -> None:
    made = started(tmp_path / "w", approval=True, code="approval")
    page = open_page(made.root, "releases", rollout="search")
    for label in ("Approve", "Pause", "Resume"):
        next(button for button in page.button if button.label == label).click().run()
        assert not page.exception
    assert state_of(made).approved == 0
    with RolloutLog(made.state_path) as log:
        assert [str(line.happening) for line in log.lines("search")][-3:] == ["approve", "pause", "resume"]


def test_a_harmed_guardrail_is_the_worst_and_says_so(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    text = shown(open_page(started(tmp_path / "w", verdict=RampVerdict.HARM).root, "releases"))
    assert "Harmed" in text


@pytest.mark.parametrize("page", ["releases", "flags"])
def test_an_empty_workspace_says_what_to_do(open_page: Open, shown: Shown, tmp_path: Path, page: str) -> None:
    found = open_page(create_workspace(tmp_path / "w").root, page)
    assert not found.exception
    assert "rampwise rollout start" in html.unescape(shown(found)) or "rollout start" in shown(found)


def test_flags_show_planned_against_observed(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    text = shown(open_page(started(tmp_path / "w").root, "flags"))
    for words in ("new_search", "Running", "5%", "5.0%", "Revision 1"):
        assert words in text


def test_a_hostile_title_is_text(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    made = started(tmp_path / "w", title=HOSTILE)
    for query in ({}, {"rollout": "search"}):
        text = shown(open_page(made.root, "releases", **query))
        assert HOSTILE not in text
        assert html.escape(HOSTILE) in text


@pytest.mark.slow
def test_the_advisor_compares_five_strategies(open_page: Open, shown: Shown, tmp_path: Path) -> None:
    page = open_page(create_workspace(tmp_path / "w").root, "advisor")
    assert not page.exception
    text = shown(page)
    for strategy in ("canary", "ab test", "rolling", "blue green", "recreate"):
        assert f'data-strategy="{strategy}"' in text
    wrong = open_page(tmp_path / "w", "advisor", rate="100")
    assert [each.value for each in wrong.error]
