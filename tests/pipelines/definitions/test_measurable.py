"""An experiment that cannot measure a metric it names is refused where it names it."""

import pytest

from pipelines.definitions.loader import find_problems

METRIC, EXPERIMENT = "metrics/revenue.toml", "experiments/checkout.toml"
RETENTION = 'kind = "retention"\nevent = "visit"\nbetter = "higher"\nfrom_days = 7\nto_days = {to}\n'
SLOW = 'kind = "time_to_event"\nevent = "visit"\nbetter = "lower"\nwindow_days = {to}\n'
MOVING = 'kind = "mean"\nevent = "visit"\nbetter = "higher"\n[cap]\nupper_quantile = 0.99\nmoving = true\n'


def lines(root) -> list[tuple[str, str]]:
    return [(problem.file, problem.path) for problem in find_problems(root)]


@pytest.mark.parametrize(("text", "fits", "word"), [(RETENTION, 14, "retention"), (SLOW, 14, "time to event")])
def test_a_metric_that_needs_longer_than_the_experiment_is_refused(root, text, fits, word):
    (root / METRIC).write_text(text.format(to=fits), encoding="utf-8")
    assert find_problems(root) == ()
    (root / METRIC).write_text(text.format(to=fits + 0.5), encoding="utf-8")
    (problem,) = find_problems(root)
    assert (problem.file, problem.path, problem.value) == (EXPERIMENT, "success[0]", "revenue")
    assert f"is {word} over 14.5 days from first exposure and the experiment runs 14" in problem.message


def test_a_window_that_opens_after_the_experiment_is_refused(root, change):
    change("metrics/complaints.toml", "window_days = 7", "window_days = 7\ndelay_days = 14")
    (problem,) = find_problems(root)
    assert (problem.path, problem.value) == ("guardrails[0].metric", "complaints")
    assert "window would end before it starts" in problem.message


@pytest.mark.parametrize("design", ["group_sequential", "always_valid", "auto"])
def test_a_moving_cap_is_refused_under_a_sequential_design(root, change, design):
    (root / METRIC).write_text(MOVING, encoding="utf-8")
    assert find_problems(root) == ()
    change(EXPERIMENT, "[plan]", f'[plan]\ndesign = "{design}"')
    (problem,) = find_problems(root)
    assert (problem.file, problem.path) == (EXPERIMENT, "success[0]")
    assert f'has a moving cap (cap.moving = true) under design = "{design}"' in problem.message


def test_a_frozen_cap_is_fine_under_a_sequential_design(root, change):
    (root / METRIC).write_text(MOVING.replace("moving = true\n", ""), encoding="utf-8")
    change(EXPERIMENT, "[plan]", '[plan]\ndesign = "always_valid"')
    assert find_problems(root) == ()


@pytest.mark.parametrize(
    ("name", "words", "nearest"),
    [
        ("revenue", "is the metric itself", None),
        ("complaint", "is not defined in metrics/", "complaints"),
        ("order_value", "is a ratio, which has no value per unit", None),
    ],
)
def test_a_covariate_without_a_value_per_unit_is_refused(root, change, name, words, nearest):
    change(METRIC, "better", f'covariates = {{ metrics = ["complaints", "{name}"] }}\nbetter')
    (problem,) = find_problems(root)
    assert (problem.file, problem.path, problem.nearest) == (METRIC, "covariates.metrics[1]", nearest)
    assert words in problem.message


# text to put before control, path in the file, words
EXPERIMENT_MISTAKES = [
    ('several_variants = "frist"', "several_variants", "must be 'exclude'"),
    ('immature = "no"', "immature", "must be 'exclude' or 'include'"),
    ('identity = "last_tuch"', "identity", "must be 'strict'"),
    ('segments = ["country", "country"]', "segments[1]", "is listed already"),
    ('segments = "country"', "segments", "must be a list"),
    ('activation = { event = "open", within_days = 15 }', "activation.within_days", "longer than the experiment"),
    ('activation = { evnt = "open" }', "activation.evnt", "not a known key"),
    ('activation = { event = "open", filters = [{ attribute = "a" }] }', "activation.filters[0]", "exactly one"),
]


@pytest.mark.parametrize(("text", "path", "words"), EXPERIMENT_MISTAKES)
def test_a_wrong_choice_of_units_is_refused_at_its_field(root, change, text, path, words):
    change(EXPERIMENT, "control =", f"{text}\ncontrol =")
    (problem,) = find_problems(root)
    assert (problem.file, problem.path) == (EXPERIMENT, path)
    assert words in problem.message


def test_every_choice_of_units_can_be_made(root, change):
    change(
        EXPERIMENT,
        "control =",
        'several_variants = "first"\nidentity = "strict"\nsegments = ["country", "os"]\nimmature = "include"\n'
        'activation = { event = "open", within_days = 2, filters = [{ attribute = "page", in = ["a", "b"] }] }\n'
        "control =",
    )
    assert lines(root) == []
