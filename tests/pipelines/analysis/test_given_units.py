"""Exposed units and exclusions through another warehouse's counts: what the events give, and contradictions refused."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import product

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from test_given_moments import KNOWN
from test_warehouse_moments import of, tables

from pipelines.analysis import analyse
from pipelines.analysis.assignments import REASONS
from pipelines.analysis.given_moments import read_given_moments
from pipelines.analysis.given_units import COUNTS, PREFIX, GivenMomentsError, GivenUnitsError
from pipelines.analysis.warehouse_moments import warehouse_moments
from pipelines.ingest import ingest_moments

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
METRICS = {
    **of("conversion", kind="proportion", event="purchase", window_days=3),
    **of("revenue", kind="mean", event="purchase"),
    **of("retained", kind="retention", event="view", from_days=2, to_days=4),
}


def made(lab, **changes):
    return lab.experiment(secondary=["revenue", "retained"], **changes)


def counted(lab, exposures, events, experiment, until):
    """The rows that the SQL for DuckDB gives."""
    with lab.warehouse() as other:
        tables(other.connection, exposures, events)
        expression = warehouse_moments(experiment, METRICS, until=until)
        return other.connection.sql(ibis.to_sql(expression, dialect="duckdb")).to_arrow_table()


def both(lab, exposures, events, now, **changes):
    """Snapshots of the same look: through moments, and from events."""
    experiment = made(lab, **changes)
    metrics = list(METRICS.values())
    with lab.warehouse() as given:
        summary = ingest_moments(given, counted(lab, exposures, events, experiment, now), known=KNOWN)
        assert (summary.rejected, summary.duplicates) == (0, 0)
        definitions = lab.definitions(made(lab, data="moments", **changes), *metrics)
        (through,) = analyse(given, definitions, None, now=now)
    with lab.warehouse() as warehouse:
        lab.load(warehouse, exposures, events.select(["unit_id", "event", "occurred_at", "value"]))
        (direct,) = analyse(warehouse, lab.definitions(experiment, *metrics), None, now=now)
    return through, direct


def states(snapshot):
    """States of the checks that both can do: events without a value leave no trace in moments."""
    return {each.name: (each.state, each.blocks, each.statistic) for each in snapshot.health if each.name != "values"}


def switching(lab, share, units=2_000):
    """Everyday exposures, a share of which switch to the other variant a day later or at once, and what units do."""
    generator = np.random.default_rng(5)
    exposures, events = [], []
    for unit in range(units):
        seen = lab.START + timedelta(hours=float(generator.uniform(0, 14 * 24 - 1)))
        exposures.append((unit, ("old", "new")[unit % 2], seen))
        if generator.random() < share:
            exposures.append((unit, ("new", "old")[unit % 2], seen + unit % 3 * DAY))
        events += [(unit, "purchase", seen + HOUR, float(generator.lognormal(3, 1)))] * int(generator.integers(0, 2))
        events.append((unit, "view", seen + 2.5 * DAY, None))
    return lab.exposures(exposures), lab.events(events)


@pytest.mark.parametrize(
    ("share", "state", "blocks"),
    [
        pytest.param(0.0, "pass", False, marks=pytest.mark.slow),
        pytest.param(0.006, "warn", False, marks=pytest.mark.slow),
        (0.05, "fail", True),
    ],
)
def test_units_in_several_variants_are_counted_and_block_as_they_do_from_events(lab, share, state, blocks):
    exposures, events = switching(lab, share)
    through, direct = both(lab, exposures, events, lab.END)
    (check,) = (each for each in through.health if each.name == "several_variants")
    assert (check.state, check.blocks) == (state, blocks)
    assert [each.message for each in through.health if each.name in {"several_variants", "exposures"}] == [
        each.message for each in direct.health if each.name in {"several_variants", "exposures"}
    ]
    assert states(through) == states(direct)
    assert (through.arms, through.exclusions, through.exposed) == (direct.arms, direct.exclusions, direct.exposed)
    assert through.decision.decision == direct.decision.decision
    assert (through.decision.decision == "do_not_trust") == blocks


SLOWER = [
    pytest.param(*each, marks=pytest.mark.slow)
    for each in product(["exclude", "first"], ["exclude", "include"], [6, 14, 15])
]


@pytest.mark.parametrize(("policy", "immature", "days"), [*SLOWER[1:], ("exclude", "exclude", 6)])
def test_a_log_with_everything_that_goes_wrong_has_the_same_counts(lab, policy, immature, days):
    exposures, events = lab.traffic(1_500)
    through, direct = both(lab, exposures, events, lab.START + days * DAY, several_variants=policy, immature=immature)
    assert {each.reason for each in direct.exclusions} >= {"before_start", "after_end"}
    assert (through.arms, through.exclusions, through.exposed) == (direct.arms, direct.exclusions, direct.exposed)
    mine, theirs = states(through), states(direct)
    for each in (mine, theirs):  # moments are as old as their last day, events as the last that anybody did
        assert each.pop("data_stale", ("pass",))[0] == "pass"
    assert mine == theirs
    for one, two in zip(through.metrics, direct.metrics, strict=True):
        assert [arm.n for arm in one.arms] == [arm.n for arm in two.arms]
        if immature == "exclude" or one.metric == "retained":
            assert (one.maturity and one.maturity.open_units) == (two.maturity and two.maturity.open_units)
            if two.maturity and two.maturity.matures_at:
                assert timedelta(0) <= one.maturity.matures_at - two.maturity.matures_at < DAY
            assert (one.maturity and one.maturity.matures_at is None) == (
                two.maturity and two.maturity.matures_at is None
            )


def test_the_first_variant_is_kept_where_the_policy_says_so(lab):
    exposures, events = switching(lab, 0.05)
    through, direct = both(lab, exposures, events, lab.END, several_variants="first")
    assert (through.arms, through.exclusions) == (direct.arms, ())
    assert states(through) == states(direct)


def test_a_variant_that_is_not_defined_blocks_by_name(lab):
    exposures, events = switching(lab, 0.0, units=400)
    few = pc.less(exposures["unit_id"], 30)
    named = pc.if_else(few, pa.scalar("nwe"), exposures["variant"])
    through, direct = both(lab, exposures.set_column(1, "variant", named), events, lab.END)
    (check,) = (each for each in through.health if each.name == "exposures")
    assert "nwe" in check.message
    assert (check.state, check.blocks) == ("fail", True)
    assert (through.exclusions, through.exposed, states(through)) == (direct.exclusions, 400, states(direct))


def test_units_of_the_future_and_of_a_day_that_is_not_over_wait(lab):
    exposures, events = switching(lab, 0.0, units=1_000)
    now = lab.START + 6 * DAY
    rows = counted(lab, exposures, events, made(lab), now + DAY / 2).to_pylist()
    last = {(row["metric"], row["variant"]): row["n"] for row in rows if row["day"] == "2026-03-07"}
    before = {row["metric"]: row["n"] for row in rows if (row["day"], row["variant"]) == ("2026-03-06", "old")}
    assert (before["units:in_the_future"], before["units:exposed"]) == (0, before["units:analysed"])
    at = exposures["exposed_at"].to_numpy().astype("datetime64[us]")
    later = np.datetime64((now + DAY / 2).replace(tzinfo=None))
    assert last["units:in_the_future", "old"] + last["units:in_the_future", "new"] == (at >= later).sum()
    assert last["units:analysed", "old"] == last["revenue", "old"]
    assert last["units:exposed", "old"] == last["units:analysed", "old"] + last["units:in_the_future", "old"]


def changed(rows, metric, variant="new", day="2026-03-15", **values):
    return [
        {**row, **values} if (row["metric"], row["variant"], row["day"]) == (metric, variant, day) else row
        for row in rows
    ]


@pytest.fixture(scope="module")
def rows(lasting_lab):
    exposures, events = switching(lasting_lab, 0.02, units=600)
    return counted(lasting_lab, exposures, events, made(lasting_lab), lasting_lab.END).to_pylist()


def given_look(lab, rows):
    with lab.warehouse() as given:
        summary = ingest_moments(given, pa.Table.from_pylist(rows), known=KNOWN)
        assert summary.rejected == 0
        return read_given_moments(given, made(lab, data="moments"), list(METRICS.values()), until=lab.END)


def test_counts_that_contradict_each_other_are_refused_by_name_and_value(lab, rows):
    exposed = next(row["n"] for row in rows if (row["metric"], row["day"]) == ("units:exposed", "2026-03-15"))
    analysed = next(
        row["n"]
        for row in rows
        if (row["metric"], row["variant"], row["day"]) == ("units:analysed", "new", "2026-03-15")
    )
    with pytest.raises(GivenUnitsError, match=r"units:exposed .* units of new on 2026-03-15: 9999 are given") as caught:
        given_look(lab, changed(rows, "units:exposed", n=9_999))
    assert (caught.value.told, caught.value.found > exposed / 2, caught.value.variant) == (9_999, True, "new")
    with pytest.raises(GivenUnitsError, match=rf"revenue .* {analysed - 1} are given, and {analysed} are analysed"):
        given_look(lab, changed(rows, "revenue", n=analysed - 1))
    with pytest.raises(GivenUnitsError, match=rf"retained .* {analysed + 1} are given"):
        given_look(lab, changed(rows, "retained", n=analysed + 1))
    dropped = [row for row in rows if (row["metric"], row["day"]) != ("units:analysed", "2026-03-08")]
    with pytest.raises(GivenMomentsError, match="units:analysed in checkout have no day 2026-03-08 of old"):
        given_look(lab, dropped)
    fewer = changed(changed(rows, "units:analysed", n=0), "units:exposed", n=0)
    with pytest.raises(GivenMomentsError, match="units:analysed in checkout are not cumulative"):
        given_look(lab, changed(fewer, "units:several_variants", n=0))


def test_reasons_that_other_warehouses_count_are_taken_as_well(lab, rows):
    more = [row for row in rows if row["metric"] == "units:exposed"]
    inactive = [{**row, "metric": "units:not_activated", "n": 7} for row in more]
    raised = [{**row, "n": row["n"] + 7} if row["metric"] == "units:exposed" else row for row in rows]
    found = given_look(lab, [*raised, *inactive]).exposed
    assert found.excluded["not_activated"] == 14
    assert found.total == sum(found.analysed.values()) + sum(found.excluded.values())


def test_files_of_metrics_alone_are_taken_as_before_and_said_to_tell_less(lab, rows):
    plain = [row for row in rows if not row["metric"].startswith(PREFIX)]
    with lab.warehouse() as given:
        ingest_moments(given, pa.Table.from_pylist(plain), known=KNOWN)
        definitions = lab.definitions(made(lab, data="moments"), *METRICS.values())
        (snapshot,) = analyse(given, definitions, None, now=lab.END)
    checks = {each.name: each for each in snapshot.health}
    assert "several_variants" not in checks
    assert "do not tell how many exposed units were left out" in checks["exposures"].message
    assert snapshot.exposed == sum(arm.analysed for arm in snapshot.arms)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"metric": "units:bored"}, "no reason why units are left out: units:bored"),
        ({"mean": 0.5}, "rows of units have n only"),
        ({"n": 1.5}, "n is not a whole number"),
        ({"variant": "nwe", "metric": "units:analysed"}, "did you mean 'new'?"),
        ({"experiment": "chekout"}, "did you mean 'checkout'?"),
    ],
)
def test_rows_of_units_that_cannot_be_are_rejected_with_a_reason(lab, rows, change, reason):
    row = next(row for row in rows if row["metric"] == "units:exposed")
    with lab.warehouse() as given:
        summary = ingest_moments(given, pa.Table.from_pylist([{**row, **change}, row]), known=KNOWN)
        assert (summary.accepted, summary.rejected) == (1, 1)
        (found,) = given.rows("SELECT reason FROM rejected")
    assert reason in found["reason"]


def test_ingestion_knows_the_reasons_of_the_analysis(lab, rows):
    row = next(row for row in rows if row["metric"] == "units:exposed")
    with lab.warehouse() as given:
        every = [{**row, "metric": PREFIX + name} for name in COUNTS]
        assert ingest_moments(given, pa.Table.from_pylist(every), known=KNOWN).accepted == len(REASONS) + 2
    assert not any(re.fullmatch(r"[a-z][a-z0-9_]*", each["metric"]) for each in every)
