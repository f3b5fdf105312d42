"""Every kind of metric: what it reads, when its window opens and closes, and which contradictions are refused."""

import pytest
from pydantic import TypeAdapter, ValidationError

from pipelines.definitions.cleaning import Cap
from pipelines.definitions.loader import METRIC_KINDS, definition_hash, find_problems
from pipelines.definitions.metrics import Metric, metric_caps, metric_events, metric_sources
from pipelines.definitions.sources import Condition, Source

METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
PAID = {"attribute": "state", "is": "paid"}
KINDS = {
    "proportion": {"event": "purchase", "filters": [PAID]},
    "mean": {"event": "purchase", "cap": {"upper_quantile": 0.99}},
    "count": {"event": "purchase", "cap": {"lower": 0.0, "upper": 20}},
    "distinct": {"event": "purchase", "distinct_of": "product"},
    "max": {"event": "purchase", "delay_days": 1, "window_days": 7},
    "ratio": {
        "numerator": {"event": "purchase", "aggregate": "sum", "filters": [PAID], "cap": {"upper": 500}},
        "denominator": {"event": "purchase", "filters": [PAID]},
    },
    "quantile": {"event": "page_load", "quantile": 0.9},
    "retention": {"event": "visit", "from_days": 7, "to_days": 14},
    "funnel": {"steps": [{"event": "cart", "within_days": 1}, {"event": "purchase", "within_days": 2}]},
    "time_to_event": {"event": "purchase", "window_days": 14},
}


def metric(kind: str, **changes: object) -> Metric:
    return METRIC.validate_python({"name": "it", "kind": kind, "better": "higher", **KINDS[kind], **changes})


def test_every_kind_has_a_model_and_an_example_here():
    assert set(KINDS) == set(METRIC_KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_it_reads_and_survives_a_round_trip(kind):
    made = metric(kind)
    assert made.kind == kind
    assert METRIC.validate_json(METRIC.dump_json(made), strict=False) == made
    assert len(definition_hash(made)) == 64
    assert set(metric_events(made)) == {source.event for source in metric_sources(made)}


def test_parts_of_a_ratio_that_read_the_same_events_are_one_source():
    (source,) = metric_sources(metric("ratio"))
    assert source == Source(event="purchase", filters=(Condition(attribute="state", is_="paid"),))


@pytest.mark.parametrize(
    ("kind", "changes", "opens", "closes", "matured"),
    [
        ("mean", {}, 0, None, False),
        ("mean", {"window_days": 7, "delay_days": 0.5}, 0.5, 7.5, False),
        ("max", {}, 1, 8, False),
        ("retention", {}, 7, 14, True),
        ("funnel", {}, 0, 3, False),
        ("funnel", {"window_days": 2, "delay_days": 1}, 1, 3, False),
        ("funnel", {"steps": [{"event": "a"}, {"event": "b", "within_days": 1}]}, 0, None, False),
        ("time_to_event", {"delay_days": 1}, 1, 15, True),
    ],
)
def test_windows_open_and_close(kind, changes, opens, closes, matured):
    made = metric(kind, **changes)
    assert (made.opens_days, made.closes_days, made.always_matured) == (opens, closes, matured)


def test_true_is_not_one_in_a_condition():
    flag, one = Condition(attribute="a", is_=True), Condition(attribute="a", is_=1)
    assert flag != one
    assert len({flag, one, Condition(attribute="a", is_=1.0)}) == 2
    assert definition_hash(flag) != definition_hash(one)


@pytest.mark.parametrize(
    ("written", "comparison", "value"),
    [
        ({"is": "DE"}, "is", "DE"),
        ({"is_not": 3}, "is_not", 3),
        ({"in": ["DE", 1, True]}, "in", ("DE", 1, True)),
        ({"not_in": ["DE"]}, "not_in", ("DE",)),
        ({"at_least": 1}, "at_least", 1.0),
        ({"below": 0.5}, "below", 0.5),
        ({"exists": False}, "exists", False),
    ],
)
def test_a_condition_has_one_comparison_and_its_value(written, comparison, value):
    made = Condition.model_validate({"attribute": "x", **written})
    assert (made.comparison, made.value) == (comparison, value)
    assert made.model_dump(exclude_defaults=True) == {"attribute": "x", comparison: value}


def test_caps_say_where_they_stand_and_from_when_they_are_frozen():
    assert metric_caps(metric("ratio")) == ((("numerator", "cap"), Cap(upper=500.0)),)
    ((where, cap),) = metric_caps(metric("mean"))
    assert (where, cap.history, cap.quantiles) == (("cap",), 28.0, (None, 0.99))
    assert metric_caps(metric("proportion")) == ()
    assert Cap(upper_quantile=0.99, moving=True).history is None
    assert Cap(upper=1.0).history is None
    assert Cap(upper_quantile=0.99, history_days=7.0).history == 7.0


# kind, changes to its example, path in the file, words of the message
MISTAKES = [
    ("retention", {"to_days": 7}, "to_days", "must be after from_days (7): the window ends before it starts"),
    ("retention", {"window_days": 3}, "window_days", "cannot stand beside from_days"),
    ("retention", {"delay_days": 3}, "delay_days", "cannot stand beside from_days"),
    ("ratio", {"denominator": None}, "denominator", "must be a table"),
    ("ratio", {"numerator": {"event": "a", "distinct_of": "b"}}, "numerator.distinct_of", "needs aggregate"),
    ("ratio", {"numerator": {"event": "a", "aggregate": "any", "cap": {"upper": 1}}}, "numerator.cap", "0 or 1"),
    ("quantile", {"quantile": 0}, "quantile", "greater than 0"),
    ("quantile", {"quantile": 1}, "quantile", "less than 1"),
    ("quantile", {"quantile": 90}, "quantile", "less than 1"),
    ("quantile", {"aggregate": "sum"}, "aggregate", 'needs of = "units"'),
    ("quantile", {"covariates": {}}, "covariates", "cannot adjust a quantile"),
    ("mean", {"cap": {}}, "cap.lower", "cuts nothing"),
    ("mean", {"cap": {"upper": 1, "upper_quantile": 0.9}}, "cap.upper_quantile", "beside upper"),
    ("mean", {"cap": {"lower": 1, "lower_quantile": 0.1}}, "cap.lower_quantile", "beside lower"),
    ("mean", {"cap": {"lower": 2, "upper": 1}}, "cap.upper", "must be above lower (2)"),
    ("mean", {"cap": {"lower_quantile": 0.5, "upper_quantile": 0.5}}, "cap.upper_quantile", "must be above"),
    ("mean", {"cap": {"upper_quantile": 99}}, "cap.upper_quantile", "less than 1"),
    ("mean", {"cap": {"upper": 9, "moving": True}}, "cap.moving", "never moves"),
    ("mean", {"cap": {"upper": 9, "history_days": 9}}, "cap.history_days", "frozen from history"),
    ("mean", {"delay_days": -1}, "delay_days", "at least 0"),
    ("mean", {"window_days": -1}, "window_days", "greater than 0"),
    ("mean", {"covariates": {"own": False}}, "covariates.own", "leaves no covariate"),
    ("mean", {"minimum_effect": 0}, "minimum_effect", "greater than 0"),
    ("proportion", {"cap": {"upper": 1}}, "cap", "not a known key"),
    ("proportion", {"filters": [{"attribute": "a"}]}, "filters[0]", "exactly one comparison"),
    ("proportion", {"filters": [{"attribute": "a", "is": 1, "above": 2}]}, "filters[0]", "has is and above"),
    ("proportion", {"filters": [{"attribute": "a", "is": [1]}]}, "filters[0].is", "text in quotes, a number"),
    ("proportion", {"filters": [{"attribute": "a", "in": []}]}, "filters[0].in", "an entry or more"),
    ("proportion", {"filters": [{"attribute": "a", "in": "DE"}]}, "filters[0].in", "must be a list"),
    ("proportion", {"filters": [{"attribute": "a", "in": ["DE", []]}]}, "filters[0].in[1]", "text in quotes"),
    ("proportion", {"filters": [{"attribute": "a", "is": 2**60}]}, "filters[0].is", "text in quotes"),
    ("proportion", {"filters": [{"attribute": "a", "at_leest": 3}]}, "filters[0].at_leest", "not a known key"),
    ("proportion", {"filters": [{"attribute": "", "is": 3}]}, "filters[0].attribute", "must not be empty"),
    ("funnel", {"steps": [{"event": "a"}]}, "steps", "at least 2 entries"),
    ("funnel", {"steps": [{"event": "a"}, {"evnt": "b"}]}, "steps[1].evnt", "not a known key"),
    ("time_to_event", {"window_days": None}, "window_days", "must be a number"),
]


@pytest.mark.parametrize(("kind", "changes", "path", "words"), MISTAKES)
def test_a_wrong_metric_is_refused_at_its_field(kind, changes, path, words, tmp_path, monkeypatch):
    table = {"kind": kind, "better": "higher", **KINDS[kind], **changes}
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "it.toml").write_text("stand_in = 1\n", encoding="utf-8")
    monkeypatch.setattr("pipelines.definitions.loader.tomllib.loads", lambda _: dict(table))
    found = [problem for problem in find_problems(tmp_path) if problem.file != "rampwise.toml"]
    assert [problem.path for problem in found] == [path], [problem.line() for problem in found]
    assert words in found[0].message
    with pytest.raises(ValidationError):
        METRIC.validate_python({"name": "it", **table})


def test_a_missing_key_of_a_kind_says_what_it_is(tmp_path):
    (tmp_path / "metrics").mkdir()
    for name, text in {
        "aov": 'kind = "ratio"\nbetter = "higher"\n[numerator]\nevent = "purchase"\n',
        "first": 'kind = "time_to_event"\nbetter = "lower"\nevent = "purchase"\n',
    }.items():
        (tmp_path / "metrics" / f"{name}.toml").write_text(text, encoding="utf-8")
    lines = [problem.line() for problem in find_problems(tmp_path)]
    assert lines == [
        "metrics/aov.toml: denominator: is missing (What it is divided by).",
        "metrics/first.toml: window_days: is missing (Needed: units without an event in it count with the window).",
    ]
