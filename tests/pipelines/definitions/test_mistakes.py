"""Every mistake people make in definitions is found, placed, explained, and answered with the nearest valid name."""

import json

import pytest

from pipelines.definitions.loader import find_problems, load_definitions
from pipelines.definitions.problems import DefinitionError, nearest_name, slug, toml_path, toml_value

METRIC, RATIO = "metrics/revenue.toml", "metrics/order_value.toml"
EXPERIMENT, REPORT = "experiments/checkout.toml", "reports/weekly.toml"

# file, text to replace, replacement, path in the file, words of the message, nearest valid name
MISTAKES = [
    (METRIC, "event =", "evnt =", "evnt", "not a known key", "event"),
    (METRIC, "better", "zzz = 1\nbetter", "zzz", "the keys here are", None),
    (METRIC, '"mean"', '"meen"', "kind", "must be one of proportion", "mean"),
    (METRIC, 'kind = "mean"\n', "", "kind", "is missing", None),
    (METRIC, '"mean"', "7", "kind", "must be one of proportion", None),
    (METRIC, '"higher"', '"highr"', "better", "must be 'higher' or 'lower'", "higher"),
    (METRIC, 'better = "higher"\n', "", "better", "is missing (The direction", None),
    (METRIC, '"purchase"', "3", "event", "text in quotes", None),
    (METRIC, '"purchase"', '""', "event", "must not be empty", None),
    (METRIC, "better", "window_days = 0\nbetter", "window_days", "greater than 0", None),
    (METRIC, "better", "window_days = true\nbetter", "window_days", "must be a number", None),
    (METRIC, "better", "window_days = nan\nbetter", "window_days", "finite", None),
    (METRIC, "better", 'name = "revenu"\nbetter', "name", "must equal the file's name", "revenue"),
    (METRIC, 'kind = "mean"', "kind = mean", "", "not valid TOML: invalid value (at line 1, column 8)", None),
    (METRIC, "better", "event = 'x'\nbetter", "", "not valid TOML", None),
    (RATIO, '"sum"', '"summ"', "numerator.aggregate", "must be 'sum', 'count', 'distinct'", "sum"),
    (RATIO, '[denominator]\nevent = "purchase"\n', "", "denominator", "is missing", None),
    (RATIO, "[denominator]", "[denominater]", "denominater", "not a known key", "denominator"),
    (EXPERIMENT, "success =", "sucess =", "sucess", "not a known key", "success"),
    (EXPERIMENT, '"revenue"', '"revenu"', "success[0]", "not defined in metrics/", "revenue"),
    (EXPERIMENT, '"complaints"', '"complaint"', "guardrails[0].metric", "not defined in metrics/", "complaints"),
    (EXPERIMENT, '"order_value"', '"speed"', "secondary[0]", "there is complaints, order_value, revenue", None),
    (EXPERIMENT, '["order_value"]', '"order_value"', "secondary", "must be a list", None),
    (EXPERIMENT, '["order_value"]', '["revenue"]', "secondary[0]", "listed in success already", None),
    (EXPERIMENT, 'control = "old"', 'control = "olt"', "control", "not one of the variants (old, new)", "old"),
    (EXPERIMENT, 'name = "new"', 'name = "old"', "variants[1].name", "name of another variant", None),
    (EXPERIMENT, 'name = "new"\nshare = 0.5', 'name = "new"\nshare = 0.6', "variants", "add up to 1.1", None),
    (EXPERIMENT, 'name = "new"\nshare = 0.5', 'name = "new"\nshare = 1.5', "variants[1].share", "at most 1", None),
    (EXPERIMENT, 'name = "new"\nshare', 'name = "new"\nshar', "variants[1].shar", "not a known key", "share"),
    (EXPERIMENT, '[[variants]]\nname = "new"\nshare = 0.5\n', "", "variants", "at least 2 entries, found 1", None),
    (EXPERIMENT, '"user"', '"users"', "unit", "must be 'user', 'session'", "user"),
    (EXPERIMENT, "start = 2026-03-02T00:00:00+01:00", "start = 2026-03-02T00:00:00", "start", "has no offset", None),
    (EXPERIMENT, "start = 2026-03-02T00:00:00+01:00", "start = 2026-03-02", "start", "date and time with an", None),
    (EXPERIMENT, "start = 2026-03-02T00:00:00+01:00", 'start = "soon"', "start", "without quotes", None),
    (EXPERIMENT, "end = 2026-03-16", "end = 2026-03-01", "end", "is not after start", None),
    (EXPERIMENT, "margin = 0.05", "margin = -0.05", "guardrails[0].margin", "greater than 0", None),
    (EXPERIMENT, "margin = 0.05", "margin = 5", "guardrails[0].margin", "less than 1", None),
    (EXPERIMENT, "margin = 0.05\n", "", "guardrails[0].margin", "is missing", None),
    (EXPERIMENT, "minimum_effect = 0.02", "minimum_efect = 0.02", "plan.minimum_efect", "known key", "minimum_effect"),
    (EXPERIMENT, "[plan]", "[plan]\nalpha = 0", "plan.alpha", "greater than 0", None),
    (EXPERIMENT, "[plan]", '[plan]\nalpha = "0.05"', "plan.alpha", "must be a number, without quotes", None),
    (EXPERIMENT, "[plan]", '[plan]\ndesign = "fixd"', "plan.design", "must be 'fixed'", "fixed"),
    (EXPERIMENT, "[plan]\nminimum_effect = 0.02\n", "", "plan", "is missing", None),
    (REPORT, "0 8 * * MON", "0 25 * * MON", "cron", "the hour field is wrong", None),
    (REPORT, "0 8 * * MON", "weekly", "cron", "five fields", None),
    (REPORT, "0 8 * * MON", "0 8 31 2 *", "cron", "not a cron expression", None),
    (REPORT, "Europe/Berlin", "Europe/Berln", "timezone", "not a time zone", "Europe/Berlin"),
    (REPORT, "Europe/Berlin", "../etc", "timezone", "not a time zone", None),
    (REPORT, '["checkout"]', '["chekout"]', "experiments[0]", "not defined in experiments/", "checkout"),
    (REPORT, "cron", 'scope = "all"\ncron', "scope", "cannot stand beside experiments", None),
    (REPORT, 'experiments = ["checkout"]', 'scope = "runing"', "scope", "must be 'running' or 'all'", "running"),
]


@pytest.mark.parametrize(
    ("file", "old", "new", "path", "words", "nearest"), MISTAKES, ids=[f"{m[0]}: {m[2]!r}" for m in MISTAKES]
)
def test_one_mistake_gives_one_problem_in_the_right_place(root, change, file, old, new, path, words, nearest):
    change(file, old, new)
    problems = find_problems(root)
    assert [(problem.file, problem.path) for problem in problems] == [(file, path)], [p.line() for p in problems]
    (problem,) = problems
    assert words in problem.message
    assert problem.nearest == nearest
    line = problem.line()
    assert line.startswith(f"{file}: {path}")
    assert (nearest is None) == ("Did you mean" not in line)
    json.dumps(problem.as_dict(), allow_nan=False)


def test_good_definitions_have_no_problems(root):
    assert find_problems(root) == ()


def test_all_mistakes_in_all_files_are_reported_at_once(root, change):
    change(METRIC, '"mean"', '"meen"')
    change(METRIC, '"higher"', '"up"')
    change(RATIO, '"sum"', '"summ"')
    change(EXPERIMENT, '"revenue"', '"revenu"')
    change(EXPERIMENT, "share = 0.5", "share = 0.6")
    change(EXPERIMENT, '"user"', '"users"')
    change(EXPERIMENT, 'control = "old"', 'control = "odl"')
    change(REPORT, "MON", "MOON")
    (root / "rampwise.toml").write_text("prt = 1\n", encoding="utf-8")
    found = {(problem.file, problem.path) for problem in find_problems(root)}
    assert found == {
        ("rampwise.toml", "prt"),
        (METRIC, "kind"),
        (METRIC, "better"),
        (RATIO, "numerator.aggregate"),
        (EXPERIMENT, "success[0]"),
        (EXPERIMENT, "variants"),
        (EXPERIMENT, "unit"),
        (EXPERIMENT, "control"),
        (REPORT, "cron"),
    }
    with pytest.raises(DefinitionError, match="8 mistakes") as caught:
        load_definitions(root)
    assert len(caught.value.problems) == 8
    assert all(problem.line() in str(caught.value) for problem in caught.value.problems)


def test_a_broken_metric_file_does_not_make_the_experiments_that_use_it_wrong(root, change):
    change(METRIC, 'kind = "mean"', "kind = ")
    assert [problem.file for problem in find_problems(root)] == [METRIC]


def test_an_experiment_without_anything_to_decide_is_refused(root, change):
    change(EXPERIMENT, 'success = ["revenue"]\n', "")
    change(EXPERIMENT, '[[guardrails]]\nmetric = "complaints"\nmargin = 0.05\n', "")
    (problem,) = find_problems(root)
    assert "neither success metrics nor guardrails" in problem.message


def test_the_same_name_in_two_folders_is_refused(root):
    (root / "metrics" / "shop").mkdir()
    (root / "metrics" / "shop" / "revenue.toml").write_text((root / METRIC).read_text(), encoding="utf-8")
    (problem,) = find_problems(root)
    assert (problem.file, problem.path) == ("metrics/shop/revenue.toml", "name")
    assert "defined in metrics/revenue.toml already" in problem.message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metrics/latin.toml", 'kind = "mean" # \xe9'.encode("latin-1"), "not UTF-8 (byte 16 is 0xe9)"),
        ("metrics/nothing.toml", b"# only a comment\n", "is empty"),
        ("metrics/Big-Name.toml", b'kind = "mean"\nevent = "x"\nbetter = "lower"\n', "lower-case"),
    ],
)
def test_files_that_cannot_be_used_are_problems_not_crashes(root, name, content, words):
    (root / name).write_bytes(content)
    (problem,) = find_problems(root)
    assert problem.file == name
    assert words in problem.message


def test_a_byte_order_mark_is_no_mistake(root):
    path = root / METRIC
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert find_problems(root) == ()


def test_what_editors_leave_behind_is_ignored(root):
    (root / "metrics" / ".#revenue.toml").write_text("kind =", encoding="utf-8")
    (root / "metrics" / "revenue.toml~").write_text("kind =", encoding="utf-8")
    assert find_problems(root) == ()


@pytest.mark.parametrize(
    ("written", "expected"),
    [("Revenue", "revenue"), ("order value", "order_value"), ("order-valu", "order_value"), ("zebra", None), (3, None)],
)
def test_the_nearest_name_ignores_case_spaces_and_dashes(written, expected):
    assert nearest_name(written, ["revenue", "order_value", "complaints"]) == expected


def test_paths_and_values_read_like_toml():
    assert toml_path(("variants", 1, "share")) == "variants[1].share"
    assert toml_path(("a key", "b")) == '"a key".b'
    assert toml_value({"a": [1, True, "x"]}) == '{a = [1, true, "x"]}'
    assert len(toml_value("x" * 500)) == 60
    assert slug("My Metric!") == "my_metric"
    assert slug("123") is None
