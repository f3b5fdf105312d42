"""Presets: listed, added, valid, and analysed."""

import json

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
