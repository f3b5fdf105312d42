"""Rollout definitions: what is refused, with file, field and reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.definitions.loader import DefinitionError, find_problems, load_definitions

METRIC = 'kind = "proportion"\nevent = "error"\nbetter = "lower"\n'
CANARY = """
strategy = "canary"
[[stages]]
coverage = 0.05
minimum_hours = 24
[[stages]]
coverage = 0.5
[[guardrails]]
metric = "error_rate"
tolerance = 0.1
"""
NEW = '[[arms]]\nname = "new"\nvalue = 1\nweight = 0.5\n'


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "rampwise.toml").write_text("")
    for folder in ("metrics", "experiments", "rollouts", "reports"):
        (tmp_path / folder).mkdir()
    (tmp_path / "metrics" / "error_rate.toml").write_text(METRIC)

    def write(**rollouts):
        for name, text in rollouts.items():
            (tmp_path / "rollouts" / f"{name}.toml").write_text(text)
        return tmp_path

    return write


def test_a_small_canary_has_the_usual_arms_and_its_exposures_may_name_them(workspace):
    definitions = load_definitions(workspace(checkout=CANARY))
    rollout = definitions.rollout("checkout")
    assert [(arm.name, arm.value, arm.weight) for arm in rollout.all_arms] == [
        ("treatment", True, 0.5),
        ("control", False, 0.5),
    ]
    assert definitions.variants["checkout"] == {"treatment", "control", "off"}
    assert rollout.minimum_duration.total_seconds() == 48 * 3600


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (CANARY.replace("0.05", "0.6"), "stages = {found}: cover 0.6 in stage 0, but control keeps 0.5"),
        (
            CANARY.replace("coverage = 0.5", "coverage = 0.01"),
            "stages = {found}: shrink: stage 1 covers 0.01 after 0.05",
        ),
        (CANARY.replace("minimum_hours = 24", "minimum_hours = 24\nmaximum_hours = 12"), "end too early"),
        (CANARY.replace("error_rate", "eror_rate"), 'guardrails[0].metric = "eror_rate": is not defined in metrics/'),
        (
            CANARY.split("[[guardrails]]", maxsplit=1)[0],
            "guardrails: are missing: nothing could ever stop a canary rollout",
        ),
        ('layer = "search"\n' + CANARY, "slice: is missing: a slice is a part of a layer"),
        ('layer = "search"\nslice = [0.5, 0.5]\n' + CANARY, "slice = [0.5, 0.5]: holds no units"),
        (CANARY.replace("canary", "canari"), "Did you mean 'canary'?"),
        (CANARY.replace("tolerance", "tolerence"), "Did you mean 'tolerance'?"),
        (CANARY + '[[arms]]\nname = "new"\nvalue = 1\nweight = 1.0\n', "need one named control"),
        (
            CANARY + NEW + '[[arms]]\nname = "control"\nvalue = "a"\nweight = 0.5\n',
            "need values of one type",
        ),
        (
            CANARY + NEW + '[[arms]]\nname = "control"\nvalue = 0\nweight = 0.4\n',
            "add up to 0.9 instead of 1",
        ),
        ('goals = ["error_rate"]\n' + CANARY, "a metric has one role in a rollout"),
        (CANARY + '[[freezes]]\nweekly = ["FRI 16:00", "Monday 8"]\n', "write a day and a time"),
        (CANARY + "[[freezes]]\nstart = 2026-12-24T00:00:00Z\nend = 2026-12-20T00:00:00Z\n", "is not after start"),
        (CANARY + "[[freezes]]\nstart = 2026-12-24T00:00:00Z\n", "is missing: a single freeze needs both"),
        (
            CANARY.replace("canary", "rolling") + '[[targeting.early_adopters]]\nattribute = "staff"\nis = true\n',
            "rolling",
        ),
        ('prerequisites = [{ flag = "chekout_basis" }]\n' + CANARY, "is no rollout's flag"),
        ('prerequisites = [{ flag = "checkout" }]\n' + CANARY, "lead in a circle: checkout -> checkout"),
    ],
)
def test_a_rollout_that_cannot_be_kept_is_refused_with_field_and_reason(workspace, text, line):
    with pytest.raises(DefinitionError) as refused:
        load_definitions(workspace(checkout=text))
    lines = [problem.line() for problem in refused.value.problems]
    assert len(lines) == 1, lines
    assert lines[0].startswith("rollouts/checkout.toml: ")
    assert line.split("{found}")[-1] in lines[0], lines


def test_slices_that_overlap_prerequisites_in_a_circle_and_shared_flags_are_refused(workspace):
    problems = find_problems(
        workspace(
            first='layer = "search"\nslice = [0.0, 0.5]\nprerequisites = [{ flag = "second" }]\n' + CANARY,
            second='layer = "search"\nslice = [0.4, 1.0]\nprerequisites = [{ flag = "first" }]\n' + CANARY,
            third='flag = "first"\n' + CANARY,
        )
    )
    lines = [problem.line() for problem in problems]
    assert len(lines) == 4
    assert any(
        "slice = [0.4, 1]: overlaps [0, 0.5] of first" in line or "overlaps [0, 0.5] of first" in line for line in lines
    )
    assert sum("lead in a circle" in line for line in lines) == 2
    assert any('third.toml: flag = "first": is the flag of first too' in line for line in lines)


def test_a_rollout_and_an_experiment_cannot_share_a_name(workspace):
    root = workspace(checkout=CANARY)
    (root / "experiments" / "checkout.toml").write_text(
        'start = 2026-01-01T00:00:00Z\nend = 2026-02-01T00:00:00Z\ncontrol = "a"\nsuccess = ["error_rate"]\n'
        '[[variants]]\nname = "a"\nshare = 0.5\n[[variants]]\nname = "b"\nshare = 0.5\n[plan]\nminimum_effect = 0.1\n'
    )
    assert ["exposures could not tell them apart" in problem.line() for problem in find_problems(root)] == [True]


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-27T14:59:00+00:00", False),  # Friday 15:59 in Berlin
        ("2026-11-27T15:00:00+00:00", True),
        ("2026-11-29T12:00:00+00:00", True),
        ("2026-11-30T06:59:00+00:00", True),
        ("2026-11-30T07:00:00+00:00", False),
        ("2026-07-06T06:00:00+00:00", False),  # Monday 8:00 in summer
        ("2026-07-06T05:59:00+00:00", True),
    ],
)
def test_a_weekly_freeze_follows_its_own_clock(workspace, moment, holds):
    freeze = '[[freezes]]\nweekly = ["FRI 16:00", "MON 08:00"]\ntimezone = "Europe/Berlin"\n'
    rollout = load_definitions(workspace(checkout=CANARY + freeze)).rollout("checkout")
    assert (rollout.freeze_at(datetime.fromisoformat(moment).astimezone(UTC)) is not None) is holds
