"""Alerts: what raises each of them, once per occurrence, and how they reach people."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.access.actors import local_actor
from pipelines.access.roles import Actor, NotAllowedError, Role
from pipelines.config import Workspace, create_workspace
from pipelines.definitions.loader import Definitions, load_definitions
from pipelines.definitions.problems import DefinitionError
from pipelines.schedule.alerts import raise_alerts
from pipelines.store import audit
from pipelines.store.alerts import Alerts
from pipelines.store.database import open_database
from pipelines.store.outgoing import Outgoing
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State

START = datetime(2025, 11, 3, tzinfo=UTC)
END = START + timedelta(days=14)
KINDS = ("sample_ratio_broken", "guardrail_harmed", "ready_to_decide", "data_stale", "exposures_stopped")
SCHEDULE = """
name = "weekly"
cron = "0 8 * * MON"
experiments = ["new_checkout"]
alerts = {alerts}
[[deliver]]
kind = "mail"
to = ["pm@example.org", "po@example.org"]
"""
EXPERIMENT = """
name = "new_checkout"
title = "{title}"
start = 2025-11-03T00:00:00Z
end = 2025-11-17T00:00:00Z
control = "old"
success = ["checkout"]
variants = [{{ name = "old", share = 0.5 }}, {{ name = "new", share = 0.5 }}]
plan = {{ minimum_effect = 0.03 }}
"""


def define(workspace: Workspace, *, alerts: tuple[str, ...] = KINDS, title: str = "New checkout") -> None:
    (workspace.reports_dir / "weekly.toml").write_text(SCHEDULE.format(alerts=json.dumps(alerts)), encoding="utf-8")
    (workspace.experiments_dir / "new_checkout.toml").write_text(EXPERIMENT.format(title=title), encoding="utf-8")


@pytest.fixture
def workspace(tmp_path: Any) -> Workspace:
    made = create_workspace(tmp_path)
    metric = 'name = "checkout"\nkind = "proportion"\nevent = "checkout"\nbetter = "higher"\n'
    (made.metrics_dir / "checkout.toml").write_text(metric, encoding="utf-8")
    define(made)
    return made


def look(workspace: Workspace, snapshot: Snapshot, at: datetime, **changes: Any) -> None:
    """Store a look taken at a moment."""
    found = replace(
        snapshot, **{"analysed_at": at, "data_until": at, "snapshot_id": f"new_checkout-{at:%d%H%M}", **changes}
    )
    with State(workspace.state_path) as state:
        state.save(found, actor=local_actor())


def raised(workspace: Workspace, now: datetime, definitions: Definitions | None = None) -> list[str]:
    found = definitions or load_definitions(workspace.root)
    return [alert.kind for alert in raise_alerts(workspace, found, actor=local_actor(), now=now)]


def harmed(samples: Any) -> Snapshot:
    """Revenue is harmed; the decision stays open, so that nothing else is to tell."""
    whole = samples.snapshot(decision=samples.running().decision)
    worse = samples.comparison(verdict="harmed", reason="−7.0% (95% interval −11.0% to −3.0%): harmed.")
    revenue = replace(whole.metrics[1], comparisons=(worse,))
    return replace(whole, metrics=(whole.metrics[0], revenue, *whole.metrics[2:]))


def test_a_running_experiment_in_order_raises_nothing(workspace: Workspace, samples: Any) -> None:
    for day in (4, 5, 6):
        look(workspace, samples.running(exposed=10_000 + day), START + timedelta(days=day))
        assert raised(workspace, START + timedelta(days=day, hours=1)) == []
    assert Outgoing(workspace.state_path).all() == ()


def test_a_broken_sample_ratio_is_told_once_until_it_was_mended(workspace: Workspace, samples: Any) -> None:
    day = timedelta(days=1)
    broken = samples.blocked(phase="running")
    look(workspace, broken, START + 4 * day)
    assert raised(workspace, START + 4 * day) == ["sample_ratio_broken"]
    assert raised(workspace, START + 4 * day) == []
    look(workspace, replace(broken, exposed=11_000), START + 5 * day)
    assert raised(workspace, START + 5 * day) == []
    look(workspace, samples.running(exposed=12_000), START + 6 * day)
    assert raised(workspace, START + 6 * day) == []
    (over,) = Alerts(workspace.state_path).all()
    assert over.over_at == START + 6 * day
    look(workspace, replace(broken, exposed=13_000), START + 7 * day)
    assert raised(workspace, START + 7 * day) == ["sample_ratio_broken"]
    assert len(Alerts(workspace.state_path).all()) == 2
    assert len(Outgoing(workspace.state_path).all()) == 4  # two occurrences, two people


def test_a_harmed_guardrail_is_told_with_its_interval_and_stays_told_while_the_data_is_blocked(
    workspace: Workspace, samples: Any
) -> None:
    look(workspace, harmed(samples), END + timedelta(hours=1))
    assert raised(workspace, END + timedelta(hours=1)) == ["guardrail_harmed"]
    (alert,) = Alerts(workspace.state_path).all(lasting=True)
    assert (alert.report, alert.experiment, alert.metric) == ("weekly", "new_checkout", "revenue")
    assert alert.text == "Revenue (new): −7.0% (95% interval −11.0% to −3.0%): harmed."
    look(workspace, samples.blocked(), END + timedelta(hours=2))
    assert raised(workspace, END + timedelta(hours=2)) == ["sample_ratio_broken"]
    look(workspace, harmed(samples), END + timedelta(hours=3))
    assert raised(workspace, END + timedelta(hours=3)) == []


def test_a_second_harmed_guardrail_is_told_too(workspace: Workspace, samples: Any) -> None:
    first = harmed(samples)
    look(workspace, first, END + timedelta(hours=1))
    assert raised(workspace, END + timedelta(hours=1)) == ["guardrail_harmed"]
    latency = replace(first.metrics[1], metric="latency", label="Latency")
    look(workspace, replace(first, metrics=(*first.metrics, latency)), END + timedelta(hours=2))
    assert raised(workspace, END + timedelta(hours=2)) == ["guardrail_harmed"]
    assert {alert.metric for alert in Alerts(workspace.state_path).all(lasting=True)} == {"revenue", "latency"}


def test_an_early_fixed_horizon_look_harms_no_guardrail(workspace: Workspace, samples: Any) -> None:
    look(workspace, replace(harmed(samples), phase="running"), START + timedelta(days=5))
    assert raised(workspace, START + timedelta(days=5)) == []


def test_an_always_valid_look_may_harm_a_guardrail_before_the_end(workspace: Workspace, samples: Any) -> None:
    found = harmed(samples)
    (comparison,) = found.metrics[1].comparisons
    sure = replace(found.metrics[1], comparisons=(replace(comparison, validity="always_valid"),))
    at = START + timedelta(days=5)
    look(workspace, replace(found, phase="running", metrics=(found.metrics[0], sure)), at)
    assert raised(workspace, at) == ["guardrail_harmed"]


@pytest.mark.parametrize("decision", ["ship", "roll_back", "needs_a_decision", "inconclusive"])
def test_an_experiment_that_is_ready_is_told_once_whatever_the_decision_becomes(
    workspace: Workspace, samples: Any, decision: str
) -> None:
    ready = samples.snapshot()
    look(workspace, ready, END + timedelta(hours=1))
    assert raised(workspace, END + timedelta(hours=1)) == ["ready_to_decide"]
    other = replace(ready, decision=replace(ready.decision, decision=decision))
    look(workspace, other, END + timedelta(hours=2))
    assert raised(workspace, END + timedelta(hours=2)) == []


def test_stale_data_is_told_after_the_hours_the_report_says_and_again_when_it_stops_again(
    workspace: Workspace, samples: Any
) -> None:
    look(workspace, samples.running(), START + timedelta(days=5))
    assert raised(workspace, START + timedelta(days=5, hours=36)) == []
    assert raised(workspace, START + timedelta(days=5, hours=37)) == ["data_stale"]
    assert raised(workspace, START + timedelta(days=5, hours=38)) == []
    look(workspace, samples.running(exposed=12_000), START + timedelta(days=7))
    assert raised(workspace, START + timedelta(days=7)) == []
    assert raised(workspace, START + timedelta(days=9)) == ["data_stale"]
    assert raised(workspace, END + timedelta(hours=1)) == []  # it has ended: no more data is expected
    assert Alerts(workspace.state_path).all(lasting=True) == ()


def test_an_experiment_that_was_never_analysed_is_stale(workspace: Workspace) -> None:
    assert raised(workspace, START - timedelta(days=9)) == []
    assert raised(workspace, START + timedelta(hours=35)) == []
    assert raised(workspace, START + timedelta(hours=37)) == ["data_stale"]
    (alert,) = Alerts(workspace.state_path).all()
    assert "No data has been analysed since its start" in alert.text


def test_exposures_that_stopped_are_told_only_while_other_data_arrives(workspace: Workspace, samples: Any) -> None:
    at = START + timedelta(days=5)
    look(workspace, samples.running(), at)
    look(workspace, samples.running(exposed=10_000), at + timedelta(hours=37))
    assert raised(workspace, at + timedelta(hours=37)) == ["exposures_stopped"]
    assert raised(workspace, at + timedelta(hours=38)) == []
    look(workspace, samples.running(exposed=10_400), at + timedelta(hours=50))
    assert raised(workspace, at + timedelta(hours=50)) == []
    assert Alerts(workspace.state_path).all(lasting=True) == ()


def test_data_that_stands_still_is_stale_and_not_a_stop_of_exposures(workspace: Workspace, samples: Any) -> None:
    at = START + timedelta(days=5)
    look(workspace, samples.running(), at)
    look(workspace, samples.running(), at + timedelta(hours=37), data_until=at)
    assert raised(workspace, at + timedelta(hours=37)) == ["data_stale"]


def test_only_what_a_report_asks_for_is_told(workspace: Workspace, samples: Any) -> None:
    define(workspace, alerts=("data_stale",))
    look(workspace, samples.snapshot(), END + timedelta(hours=1))
    assert raised(workspace, END + timedelta(hours=1)) == []


def test_an_experiment_that_ended_long_ago_raises_nothing(workspace: Workspace, samples: Any) -> None:
    look(workspace, samples.snapshot(), END + timedelta(days=30))
    assert raised(workspace, END + timedelta(days=30)) == []


def test_alerts_nobody_asks_for_any_more_are_over(workspace: Workspace, samples: Any) -> None:
    look(workspace, samples.snapshot(), END + timedelta(hours=1))
    assert raised(workspace, END + timedelta(hours=1)) == ["ready_to_decide"]
    define(workspace, alerts=("data_stale",))
    assert raised(workspace, END + timedelta(hours=2)) == []
    assert Alerts(workspace.state_path).all(lasting=True) == ()


def test_what_a_user_wrote_is_inert_in_every_form(workspace: Workspace, samples: Any) -> None:
    define(workspace, title="<img src=x onerror=alert(1)> [x](http://evil) \\u202e")
    evil = samples.snapshot()
    headline = "<script>alert(1)</script> [x](http://evil) @channel\r\nBcc: all@example.org"
    look(workspace, replace(evil, decision=replace(evil.decision, headline=headline)), END + timedelta(hours=1))
    raised(workspace, END + timedelta(hours=1))
    message = Outgoing(workspace.state_path).all()[0]
    mail, markdown = str(message.body["mail"]), str(message.body["markdown"])
    assert "<img" not in mail
    assert "<script" not in mail
    assert "&lt;script&gt;" in mail
    assert re.search(r"(?<!\\)[<\[(@]", markdown) is None  # each of them is escaped
    assert "\n" not in message.subject
    assert "\u202e" not in message.subject


def test_every_alert_is_in_the_audit_log_and_asks_the_table_of_roles(workspace: Workspace, samples: Any) -> None:
    look(workspace, samples.snapshot(), END + timedelta(hours=1))
    viewer = Actor(name="user:v@example.org", role=Role.VIEWER)
    with pytest.raises(NotAllowedError):
        raise_alerts(workspace, load_definitions(workspace.root), actor=viewer, now=END + timedelta(hours=1))
    assert Alerts(workspace.state_path).all() == ()
    raised(workspace, END + timedelta(hours=1))
    with closing(open_database(workspace.state_path)) as connection:
        (written,) = [row for row in audit.rows(connection) if "alert" in row.details]
    details = json.loads(written.details)
    assert details["alert"] == "ready_to_decide"
    assert details["channels"] == ["mail:pm@example.org", "mail:po@example.org"]


def test_alerts_without_a_channel_are_a_mistake_in_the_file(workspace: Workspace) -> None:
    text = 'name = "weekly"\ncron = "0 8 * * MON"\nalerts = ["data_stale"]\n'
    (workspace.reports_dir / "weekly.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"alerts = .*need a channel"):
        load_definitions(workspace.root)
    (workspace.reports_dir / "weekly.toml").write_text(SCHEDULE.format(alerts='["data_stail"]'), encoding="utf-8")
    with pytest.raises(DefinitionError, match="Did you mean 'data_stale'"):
        load_definitions(workspace.root)


RACER = """
import sys
from datetime import datetime
from pathlib import Path
from pipelines.access.actors import local_actor
from pipelines.config import Workspace
from pipelines.definitions.loader import load_definitions
from pipelines.schedule.alerts import raise_alerts
workspace = Workspace(root=Path(sys.argv[1]))
now = datetime.fromisoformat(sys.argv[2])
print(len(raise_alerts(workspace, load_definitions(workspace.root), actor=local_actor(), now=now)))
"""


def test_eight_racing_runners_raise_an_alert_once(workspace: Workspace, samples: Any) -> None:
    look(workspace, samples.snapshot(), END + timedelta(hours=1))
    command = [sys.executable, "-c", RACER, str(workspace.root), (END + timedelta(hours=1)).isoformat()]
    runners = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    told = [runner.communicate(timeout=120)[0].strip() for runner in runners]
    assert sorted(told) == ["0"] * 7 + ["1"]
    assert len(Outgoing(workspace.state_path).all()) == 2
