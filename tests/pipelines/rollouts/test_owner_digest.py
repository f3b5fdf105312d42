"""The product owner's digest tells what the log of releases and the health checks hold."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from pipelines.rollouts.lifecycle import Happening
from pipelines.rollouts.log import RolloutLog
from pipelines.schedule import preview, run_due
from pipelines.store.snapshot import HealthCheck
from pipelines.store.state import State

REPORT = (
    'kind = "owner_digest"\ntitle = "Delivery"\ncron = "0 8 * * *"\nscope = "all"\nformats = ["html", "json", "csv"]\n'
)
EXPERIMENT = """
title = "New checkout"
start = 2025-11-03T00:00:00Z
end = 2026-12-01T00:00:00Z
control = "old"
success = ["conversion"]
variants = [{ name = "old", share = 0.5 }, { name = "new", share = 0.5 }]
plan = { minimum_effect = 0.03 }
"""


def analysed(release, samples, name: str, *checks: HealthCheck):
    (release.workspace.experiments_dir / "new_checkout.toml").write_text(EXPERIMENT, encoding="utf-8")
    with State(release.workspace.state_path) as state:
        look = samples.running(snapshot_id=name, analysed_at=release.now, data_until=release.now, health=checks)
        state.save(look, actor=release.editor)


def test_the_digest_tells_what_is_stuck_unhealthy_live_and_happened(release, editor, samples):
    release.editor = editor
    (release.workspace.reports_dir / "delivery.toml").write_text(REPORT, encoding="utf-8")
    release.start()
    release.tick()
    with RolloutLog(release.workspace.state_path) as log:
        log.add(log.state(release.name), Happening.PAUSE, actor=editor, at=release.now, reason="Waits for <b>legal</b>")
    late = HealthCheck(name="arrivals", state="warn", blocks=False, statistic=None, p_value=None, message="Few users.")
    analysed(release, samples, "look-1", late)
    now = release.now + timedelta(days=2)
    found = preview(release.workspace, release.definitions, "delivery", now=now)
    assert found.subject == "Delivery: 1 stuck (search), 1 with a warning; 1 live"
    for form in (found.html, found.mail_html):
        assert 'data-section="stuck"' in form
        assert "Waits for &lt;b&gt;legal&lt;/b&gt;" in form
        assert "<b>legal" not in form
        assert "look-1" in form
    assert "Waits for \\<b\\>legal" in found.markdown
    assert "- search. What happened: Paused." not in found.text, "it happened two days ago, a slot is a day"
    data = json.loads(found.files["json"])
    assert [each["rollout"] for each in data["figures"]["live"]] == ["search"]
    assert {each["check"] for each in data["figures"]["unhealthy"]} == {"arrivals", "data_stale"}
    assert data["snapshots"] == {"new_checkout": "look-1"}
    assert "stuck" in found.files["csv"].decode()


def test_what_happened_since_the_last_digest_and_new_problems_are_told_apart(release, editor, samples):
    release.editor = editor
    (release.workspace.reports_dir / "delivery.toml").write_text(REPORT, encoding="utf-8")
    old = HealthCheck(name="arrivals", state="warn", blocks=False, statistic=None, p_value=None, message="Few users.")
    new = replace(old, name="imbalance", state="fail", blocks=True, message="Not alike.")
    analysed(release, samples, "look-1", old)
    release.start()
    first = run_due(release.workspace, release.definitions, actor=editor, now=release.now)
    assert [path.suffix for path in first[0].paths] == [".html", ".json", ".csv"]
    release.now += timedelta(hours=3)
    release.tick()
    analysed(release, samples, "look-2", old, new)
    release.now += timedelta(hours=21)
    (second,) = run_due(release.workspace, release.definitions, actor=editor, now=release.now)
    page = second.paths[0].read_text(encoding="utf-8")
    happened = page.split('data-section="happened"')[1].split("</section>")[0]
    assert "First stage" in happened
    assert "Started" not in happened, "the first digest was due at that very moment"
    health = page.split('data-section="unhealthy"')[1].split("</section>")[0]
    rows = {row.split("</span>")[0].rpartition(">")[2]: row for row in health.split("<tr>")[2:]}
    assert "<td>yes</td>" in rows["⊘ Blocks: Alike before exposure"]
    assert "<td>yes</td>" not in rows["! Warning: New units"]
    assert run_due(release.workspace, release.definitions, actor=editor, now=release.now) == ()
