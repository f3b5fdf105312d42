from __future__ import annotations

from datetime import timedelta

import pytest

from pipelines.analysis.assignments import Exposed
from pipelines.analysis.health import exposures_check, sample_ratio_check, several_variants_check, values_check

DAY = timedelta(days=1)


def exposed(old, new, **excluded):
    by_variant = {"old": old + sum(excluded.values()), "new": new}
    return Exposed(by_variant=by_variant, analysed={"old": old, "new": new}, excluded=excluded, latest=None)


@pytest.mark.parametrize(
    ("several", "state", "blocks"),
    [(0, "pass", False), (10, "pass", False), (11, "warn", False), (100, "warn", False), (101, "fail", True)],
)
def test_the_limits_of_units_in_several_variants(several, state, blocks):
    check = several_variants_check(exposed(5_000, 5_000 - several, several_variants=several))
    assert (check.state, check.blocks) == (state, blocks)


def test_the_limit_of_the_sample_ratio_is_one_in_a_thousand(lab):
    passing = sample_ratio_check(lab.experiment(), exposed(5_160, 4_840))
    failing = sample_ratio_check(lab.experiment(), exposed(5_170, 4_830))
    assert (passing.state, passing.blocks) == ("pass", False)
    assert (failing.state, failing.blocks) == ("fail", True)
    assert passing.p_value > 0.001 > failing.p_value
    assert "51.7%" in failing.message


def test_units_in_a_variant_that_was_to_get_none_block(lab):
    variants = [{"name": "old", "share": 1.0}, {"name": "new", "share": 0.0}]
    check = sample_ratio_check(lab.experiment(variants=variants), exposed(10_000, 1))
    assert (check.state, check.blocks, check.p_value, check.statistic) == ("fail", True, 0.0, None)
    assert "new was planned to get no units" in check.message


def test_one_variant_that_gets_all_units_has_no_split_to_check(lab):
    variants = [{"name": "old", "share": 1.0}, {"name": "new", "share": 0.0}]
    check = sample_ratio_check(lab.experiment(variants=variants), exposed(10_000, 0))
    assert (check.state, check.blocks) == ("pass", False)
    assert "no split to check" in check.message


def test_without_units_there_is_no_sample_ratio_to_check(lab):
    check = sample_ratio_check(lab.experiment(), exposed(0, 0))
    assert (check.state, check.p_value) == ("pass", None)


def test_an_undefined_variant_blocks(lab):
    found = Exposed(
        by_variant={"old": 10, "new": 10, "nwe": 3},
        analysed={"old": 10, "new": 10},
        excluded={"unknown_variant": 3},
        latest=None,
    )
    check = exposures_check(lab.experiment(), found, now=lab.END)
    assert (check.state, check.blocks) == ("fail", True)
    assert "3 units saw nwe" in check.message


def test_exposures_of_the_future_and_outside_the_dates_are_warned_about(lab):
    future = exposures_check(lab.experiment(), exposed(50, 50, in_the_future=1), now=lab.START + DAY)
    outside = exposures_check(lab.experiment(), exposed(50, 50, before_start=101), now=lab.END)
    fine = exposures_check(lab.experiment(), exposed(50, 50, before_start=5), now=lab.END)
    assert [check.state for check in (future, outside, fine)] == ["warn", "warn", "pass"]


def test_before_the_start_missing_exposures_are_no_fault(lab):
    assert exposures_check(lab.experiment(), exposed(0, 0), now=lab.START - DAY).state == "pass"
    assert exposures_check(lab.experiment(), exposed(0, 0), now=lab.START + DAY).state == "fail"


def test_an_arm_without_units_fails(lab):
    check = exposures_check(lab.experiment(), exposed(3, 0), now=lab.END)
    assert (check.state, "No unit of new" in check.message) == ("fail", True)


def test_events_without_a_value_are_counted_where_values_are_added_up():
    assert values_check({"revenue": 0}).state == "pass"
    assert values_check({"revenue": 1_234}).state == "warn"
    assert "revenue: 1,234" in values_check({"views": 0, "revenue": 1_234}).message
