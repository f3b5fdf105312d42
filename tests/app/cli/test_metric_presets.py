"""Presets: listed, added, valid, and analysed."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.definitions.loader import METRIC_KINDS, UnknownNameError, find_problems, load_definitions
from pipelines.definitions.presets import PresetError, add_preset, presets

NAMES = sorted(presets())
EXPECTED = {
    "conversion",
    "revenue_per_user",
    "average_order_value",
    "orders",
    "sessions",
    "retention_day_1",
    "retention_day_7",
    "retention_day_28",
    "churn",
    "refunds",
    "error_rate",
    "latency_p90",
    "support_contacts",
}


def test_the_list_holds_what_a_team_expects_and_every_kind(rampwise):
    assert set(NAMES) >= EXPECTED
    assert {metric.kind for metric in presets().values()} == set(METRIC_KINDS)
    listed = json.loads(rampwise("metrics", "presets", "--output", "json").stdout)
    assert [each["name"] for each in listed] == NAMES
    text = rampwise("metrics", "presets").stdout
    assert all(name in text for name in NAMES)


def test_every_preset_explains_itself():
    for name, metric in presets().items():
        assert metric.label, name
        assert metric.description.endswith("."), name


@pytest.mark.parametrize("name", NAMES)
def test_an_added_preset_is_the_preset_and_valid(tmp_path, name):
    path = add_preset(tmp_path, name)
    assert path == tmp_path / "metrics" / f"{name}.toml"
    assert [each for each in find_problems(tmp_path) if each.file.startswith("metrics/")] == []
    assert load_definitions(tmp_path).metrics == {name: presets()[name]}


def test_a_preset_takes_your_name_and_your_events(rampwise, team):
    result = rampwise("-w", team, "metrics", "add", "refunds", "--name", "money_back", "--event", 'refund=ref "x"')
    assert (result.exit_code, result.stdout.split(".")[0]) == (0, "Wrote metrics/money_back")
    assert rampwise("-w", team, "metrics", "add", "latency_p90", "--event", "load").exit_code == 0
    found = load_definitions(team).metrics
    assert (found["money_back"].numerator.event, found["money_back"].denominator.event) == ('ref "x"', "purchase")
    assert found["latency_p90"].event == "load"


def test_nothing_is_overwritten(rampwise, team):
    assert rampwise("-w", team, "metrics", "add", "orders").exit_code == 0
    path = team / "metrics" / "orders.toml"
    path.write_text("# ours\n", encoding="utf-8")
    result = rampwise("-w", team, "metrics", "add", "orders")
    assert result.exit_code == 2
    assert "metrics/orders.toml exists already; nothing was changed" in result.stderr
    assert path.read_text(encoding="utf-8") == "# ours\n"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"preset": "order"}, UnknownNameError, "Did you mean 'orders'"),
        ({"preset": "orders", "name": "Mine"}, PresetError, "cannot be a metric's name"),
        ({"preset": "orders", "name": "../x"}, PresetError, "cannot be a metric's name"),
        ({"preset": "refunds", "events": {None: "x"}}, PresetError, "say which one 'x' stands for"),
        ({"preset": "refunds", "events": {"refnd": "x"}}, PresetError, "Write refund=x"),
        ({"preset": "orders", "events": {None: ""}}, PresetError, "No event is given for purchase"),
    ],
)
def test_what_cannot_be_added_is_refused(tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        add_preset(tmp_path, **arguments)
    assert not (tmp_path / "metrics").exists()


def test_validate_warns_of_an_event_that_was_never_ingested(rampwise, team):
    exposures, events = team / "exposures.csv", team / "events.csv"
    exposures.write_text(
        "experiment,unit_id,variant,exposed_at\nsignup_page,u1,nine_fields,2025-03-04T00:00:00Z\n", encoding="utf-8"
    )
    events.write_text("unit_id,event,occurred_at\nu1,signups,2025-03-04T01:00:00Z\n", encoding="utf-8")
    assert rampwise("-w", team, "ingest", "exposures", exposures).exit_code == 0
    assert rampwise("-w", team, "ingest", "events", events).exit_code == 0
    found = rampwise("-w", team, "validate", "--output", "json")
    answer = json.loads(found.stdout)
    assert (found.exit_code, answer["valid"], answer["problems"]) == (0, True, [])
    warning = next(each for each in answer["warnings"] if each["file"] == "metrics/signup_rate.toml")
    assert (warning["path"], warning["value"], warning["nearest"]) == ("event", "signup", "signups")
    words = 'metrics/signup_rate.toml: event = "signup": has never been ingested'
    assert f"Warning: {words}" in rampwise("-w", team, "validate").stdout
    assert f"Warning: {words}" in rampwise("-w", team, "analyze").stderr


def test_every_preset_is_analysed(rampwise, team):
    """Thirty days, two hundred users, every event that a preset reads: each metric gets a value in both variants."""
    start = datetime(2025, 3, 3, tzinfo=UTC)
    chosen = random.Random(5)
    exposures, events = ["experiment,unit_id,variant,exposed_at"], ["unit_id,event,occurred_at,value,session_id,status"]
    for user in range(200):
        seen = start + timedelta(hours=user % 12)
        exposures.append(f"signup_page,u{user},{('nine_fields', 'three_fields')[user % 2]},{seen.isoformat()}")
        for event in ("visit", "cart", "purchase", "refund", "request", "page_load", "support_contact", "cancellation"):
            for repeat in range(chosen.randrange(4)):
                at = seen + timedelta(days=chosen.choice((0, 0.5, 1, 2, 7, 28)), minutes=chosen.randrange(600))
                status = chosen.choice((200, 200, 503))
                events.append(f"u{user},{event},{at.isoformat()},{chosen.lognormvariate(3, 1)},s{repeat},{status}")
    for kind, rows in (("exposures", exposures), ("events", events)):
        (team / f"{kind}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name in NAMES:
        # The workspace of the examples has some of these names already.
        rampwise("-w", team, "metrics", "add", name, "--name", f"preset_{name}")
    path = team / "experiments" / "signup_page.toml"
    text = path.read_text(encoding="utf-8").replace("end = 2025-03-17", "end = 2025-04-03")
    listed = json.dumps([f"preset_{name}" for name in NAMES])
    path.write_text(text.replace('["revenue_per_user", "order_value"]', listed), encoding="utf-8")
    assert rampwise("-w", team, "validate").exit_code == 0
    for kind in ("exposures", "events"):
        assert rampwise("-w", team, "ingest", kind, team / f"{kind}.csv").exit_code == 0
    assert rampwise("-w", team, "analyze").exit_code == 0
    results = json.loads(rampwise("-w", team, "results", "signup_page", "--output", "json").stdout)
    found = {metric["metric"]: metric for metric in results["metrics"]}
    for name in NAMES:
        arms = found[f"preset_{name}"]["arms"]
        assert [arm["status"] for arm in arms] == ["ok", "ok"], name
        assert all(arm["mean"] > 0 for arm in arms), name
        assert found[f"preset_{name}"]["comparisons"][0]["status"] == "ok", name
