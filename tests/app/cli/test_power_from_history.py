"""`rampwise power --from`: baseline and traffic from a past experiment's events."""

import json
import math

import numpy as np
import pytest

from stats.sample_size import sample_size_proportions

ARGUMENTS = ("power", "--from", "checkout", "--metric", "conversion", "--effect", "0.2")


@pytest.fixture
def past(rampwise, team):
    """A workspace with an experiment that has run for a week, with ever fewer new users."""
    (team / "metrics" / "conversion.toml").write_text('kind = "proportion"\nevent = "order"\nbetter = "higher"\n')
    (team / "experiments" / "checkout.toml").write_text(
        'start = 2026-03-02T00:00:00Z\nend = 2026-03-09T00:00:00Z\ncontrol = "old"\nsuccess = ["conversion"]\n'
        '[[variants]]\nname = "old"\nshare = 0.5\n[[variants]]\nname = "new"\nshare = 0.5\n'
        "[plan]\nminimum_effect = 0.05\n"
    )
    days = np.repeat(np.arange(7), (300, 240, 200, 180, 160, 150, 140))
    exposures = ["experiment,unit_id,variant,exposed_at"]
    exposures += [
        f"checkout,u{unit},{'old' if unit % 2 else 'new'},2026-03-{2 + day:02d}T23:59:59Z"
        for unit, day in enumerate(days)
    ]
    events = ["unit_id,event,occurred_at,value"]
    events += [f"u{unit},order,2026-03-08T23:59:59Z," for unit in range(0, len(days), 4)]
    events += [f"u{unit},order,2026-03-08T23:59:59Z," for unit in range(1, len(days), 5)]
    (team / "exposures.csv").write_text("\n".join(exposures))
    (team / "events.csv").write_text("\n".join(events))
    for kind in ("exposures", "events"):
        done = rampwise("--workspace", team, "ingest", kind, team / f"{kind}.csv")
        assert done.exit_code == 0, done.output
    return team, days


def test_the_baseline_is_that_of_control_and_the_traffic_that_of_each_day(rampwise, past) -> None:
    team, days = past
    done = rampwise("--workspace", team, *ARGUMENTS, "--output", "json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    units = len(days) // 2
    hits = len({*range(0, len(days), 4), *range(1, len(days), 5)} & set(range(1, len(days), 2)))
    rate = hits / units
    assert answer["baselines"]["conversion"]["mean"] == pytest.approx(rate, rel=1e-12)
    assert answer["arms"]["control"] == math.ceil(float(sample_size_proportions(rate, 1.2 * rate).control))
    assert f"over {units:,} units of control" in done.stderr
    # A week brings 1,370 units; the second brings fewer, so that twice as many take more than two weeks.
    weeks = answer["weeks"]
    assert weeks[0]["units"] < 1370 * 7 / 6
    assert weeks[1]["units"] < 2 * weeks[0]["units"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--metric", "conversion", "--effect", "0.1"), "--baseline: Give --baseline, or --from"),
        (("--from", "checkout", "--effect", "0.1"), "--metric: --from needs --metric"),
        (
            ("--from", "checkout", "--metric", "conversion", "--baseline", "0.1", "--effect", "0.1"),
            "--from checkout: Give either",
        ),
    ],
)
def test_half_a_history_is_refused_with_its_field(rampwise, past, arguments, told) -> None:
    done = rampwise("--workspace", past[0], "power", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr
