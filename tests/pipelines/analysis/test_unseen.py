"""What definitions name and the warehouse has never seen is a warning with the field and the nearest name."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from pipelines.analysis.unseen import definition_warnings
from pipelines.definitions.metrics import Metric

METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)


def metric(name="conversion", kind="proportion", **fields) -> Metric:
    return METRIC.validate_python({"name": name, "kind": kind, "better": "higher", **fields})


@pytest.fixture
def filled(lab, tmp_path):
    """A warehouse with exposures from a country and purchases in a state."""
    from pipelines.ingest import ingest_events, ingest_exposures

    exposures, events = tmp_path / "exposures.csv", tmp_path / "events.csv"
    exposures.write_text(
        "experiment,unit_id,variant,exposed_at,country\ncheckout,u1,old,2026-03-02T08:00:00Z,DE\n", encoding="utf-8"
    )
    events.write_text(
        "unit_id,event,occurred_at,value,state\nu1,purchase,2026-03-02T09:00:00Z,5,paid\n", encoding="utf-8"
    )
    with lab.warehouse() as warehouse:
        ingest_exposures(warehouse, exposures, known={"checkout": frozenset({"old", "new"})})
        ingest_events(warehouse, events)
        yield warehouse


def warnings(lab, warehouse, made, **changes):
    experiment = lab.experiment(**changes)
    return definition_warnings(lab.definitions(experiment, made), warehouse=warehouse)


def test_what_was_ingested_is_no_warning(lab, filled):
    fits = metric(event="purchase", filters=[{"attribute": "state", "is": "paid"}])
    assert warnings(lab, filled, fits, segments=["country"]) == ()


# metric, changes of the experiment, path in the file, words of the message, nearest name
CASES = [
    ({"event": "purchse"}, {}, "event", "never been ingested", "purchase"),
    ({"event": "zzz"}, {}, "event", "ingested were purchase", None),
    (
        {"event": "purchase", "filters": [{"attribute": "stat", "is": 1}]},
        {},
        "filters[0].attribute",
        "no event 'purchase'",
        "state",
    ),
    (
        {"kind": "funnel", "steps": [{"event": "purchase"}, {"event": "purchases"}]},
        {},
        "steps[1].event",
        "never been",
        "purchase",
    ),
    (
        {"kind": "ratio", "numerator": {"event": "purchase"}, "denominator": {"event": "visit"}},
        {},
        "denominator.event",
        "never been",
        None,
    ),
    ({"event": "purchase"}, {"segments": ["countri"]}, "segments[0]", "no exposure of checkout", "country"),
    ({"event": "purchase"}, {"segments": ["state"]}, "segments[0]", "which happen after exposure", None),
    (
        {"event": "purchase", "covariates": {"attributes": ["state"]}},
        {},
        "covariates.attributes[0]",
        "which happen after exposure",
        None,
    ),
    ({"event": "purchase"}, {"activation": {"event": "opend"}}, "activation.event", "never been ingested", None),
]


@pytest.mark.parametrize(("fields", "changes", "path", "words", "nearest"), CASES)
def test_what_was_never_ingested_is_named(lab, filled, fields, changes, path, words, nearest):
    (warning,) = warnings(lab, filled, metric(**fields), **changes)
    assert (warning.path, warning.nearest) == (path, nearest)
    assert words in warning.message


def test_a_window_that_the_experiment_cuts_off_is_named_without_a_warehouse(lab):
    long = metric(event="purchase", window_days=28)
    (warning,) = warnings(lab, None, long)
    assert (warning.file, warning.path) == ("experiments/checkout.toml", "success[0]")
    assert "closes 28 days after first exposure, and the experiment runs 14" in warning.message
    assert warnings(lab, None, metric(event="purchase", window_days=14)) == ()
    guarded = lab.experiment(success=[], guardrails=[{"metric": "conversion", "margin": 0.1}])
    (warning,) = definition_warnings(lab.definitions(guarded, long))
    assert warning.path == "guardrails[0].metric"


def test_an_empty_warehouse_warns_of_no_event(lab):
    with lab.warehouse() as warehouse:
        assert warnings(lab, warehouse, metric(event="anything")) == ()


def test_only_the_named_experiments_and_their_metrics_are_looked_at(lab, filled):
    experiment = lab.experiment(end=lab.START + timedelta(days=30))
    definitions = lab.definitions(experiment, metric(event="purchase"), metric("other", event="nothing"))
    assert [each.file for each in definition_warnings(definitions, warehouse=filled)] == ["metrics/other.toml"]
    assert definition_warnings(definitions, ["checkout"], warehouse=filled) == ()
