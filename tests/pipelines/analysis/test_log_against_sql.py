"""Who is analysed under every policy, as of any moment, through a map of identities: the engine against SQL by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sql_oracle import KINDS, NAMES, PURCHASE, VARIANTS, Oracle, agree, cells_of, columns_of, make_table, metrics_of
from test_engine_against_sql import CAPPED, ENDED, RUNNING, SIZES, compare

from pipelines.analysis.assignments import in_utc
from pipelines.analysis.history_caps import history_ends
from pipelines.analysis.reading import read_moments
from pipelines.engine.warehouse import Warehouse

DAY, TICK = timedelta(days=1), timedelta(microseconds=1)
BATCHES = 6
MOVING = {
    "moving_cap": {
        "kind": "mean",
        **PURCHASE,
        "delay_days": 1,
        "window_days": 4,
        "cap": {"lower_quantile": 0.05, "upper_quantile": 0.95, "moving": True},
    },
    "moving_cap_of_ratio": {
        "kind": "ratio",
        "numerator": {**PURCHASE, "aggregate": "sum", "cap": {"lower": 1, "upper_quantile": 0.9, "moving": True}},
        "denominator": {"event": "view", "cap": {"upper": 2}},
    },
}
# Here units have one balance, several or none: their spread of billions drowns what `billions` is there to show.
EVERY = {name: table for name, table in KINDS.items() if name != "billions"}
SOME = {name: KINDS[name] for name in ("proportion", "mean", "ratio_of_filters", "retention", "funnel", "covariate")}
SLOW = pytest.mark.slow
DAYS = [RUNNING, pytest.param(ENDED, marks=SLOW)]
POLICIES = ("exclude", "first", "as_assigned")
IDENTITIES = ("strict", "first_touch", "last_touch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A warehouse that was filled in several batches, over weeks."""

    lab: Any
    warehouse: Warehouse

    def ingested(self, batch: int) -> datetime:
        """When a batch had been ingested: every third day."""
        return self.lab.START + 3 * batch * DAY


def switched(exposures, rng):
    """More exposures: units that saw the other variant at the same moment, before, after, or more often."""
    unit, variant, at = (exposures[name].to_numpy(zero_copy_only=False) for name in exposures.column_names[:3])
    some = np.flatnonzero(rng.random(unit.size) < 0.06)
    some = np.repeat(some, rng.integers(1, 4, some.size))
    apart = rng.choice(np.array([0, 0, 6, -6, 48, 300]), some.size) * np.timedelta64(3_600_000_000, "us")
    return pa.table(
        {
            "unit_id": unit[some],
            "variant": np.where(variant[some] == "old", "new", "old"),
            "exposed_at": at[some] + apart,
            "platform": exposures["platform"].take(pa.array(some)),
            "age": exposures["age"].take(pa.array(some)),
        }
    )


def links_of(units, look, rng):
    """Links of a fifth of all units: to new ids and to known ones, shared, repeated, tied, at the look and after."""
    anonymous = rng.choice(units, units.size // 5, replace=False)
    # Two devices of one person, half of whom were exposed under the known id as well.
    known = np.where(
        rng.random(anonymous.size) < 0.5, 10_000_000 + np.arange(anonymous.size) // 2, rng.choice(units, anonymous.size)
    )
    days = rng.choice(np.array([-3, 1, 2, 5, 9, 14]), anonymous.size)
    again = np.flatnonzero(rng.random(anonymous.size) < 0.4)
    tied = rng.random(again.size) < 0.3
    start = np.datetime64(in_utc(look - RUNNING * DAY), "us")
    at = start + days * np.timedelta64(86_400_000_000, "us")
    at[: at.size // 10] = np.datetime64(in_utc(look), "us") + rng.integers(-1, 2, at.size // 10) * np.timedelta64(
        1, "us"
    )
    other = np.where(rng.random(again.size) < 0.5, known[again], 20_000_000 - again)
    moved = at[again] + np.where(tied, 0, rng.choice(np.array([-30, 30]), again.size)) * np.timedelta64(
        3_600_000_000, "us"
    )
    return pa.table(
        {
            "anonymous_id": np.concatenate([anonymous, anonymous[again]]),
            "known_id": np.concatenate([known, other]),
            "linked_at": np.concatenate([at, moved]),
        }
    )


@pytest.fixture(scope="module", params=SIZES, ids=str)
def log(request, lasting_lab):
    """Exposures, events and links in a warehouse as ingestion leaves it, and plain for the SQL."""
    lab, rng = lasting_lab, np.random.default_rng(23)
    exposures, events = lab.traffic(request.param)
    links = links_of(np.unique(events["unit_id"].to_numpy()), lab.START + RUNNING * DAY, rng)
    exposures = pa.concat_tables([exposures, switched(exposures, rng)])
    # What a unit was assigned to is known of a third, from all of its exposures or from some.
    names = np.where(rng.random(2 * request.param) < 0.5, "old", "new")[exposures["unit_id"].to_numpy()]
    assigned = pa.array(names.tolist(), mask=(exposures["unit_id"].to_numpy() % 3 > 0) | (rng.random(len(names)) < 0.3))
    tables = {"exposures": exposures.append_column("assigned", assigned), "events": events, "links": links}
    with lab.warehouse() as warehouse:
        lab.load_with_attributes(warehouse, exposures, events)
        connection = warehouse.connection
        log = Log(lab=lab, warehouse=warehouse)
        connection.execute("DELETE FROM batches")
        connection.execute("CREATE TEMP TABLE ingestions (batch_id INTEGER, ingested_at TIMESTAMP)")
        for batch in range(BATCHES):
            at = in_utc(log.ingested(batch))
            connection.execute("INSERT INTO batches VALUES (?, '', 'test', '', '', 0, 0, 0, 0, ?, ?)", [batch, at, at])
            connection.execute("INSERT INTO ingestions VALUES (?, ?)", [batch, at])
        for name, table in tables.items():
            batches = pa.array(rng.integers(0, BATCHES, len(table)), pa.int32())
            connection.register("arriving", table.append_column("batch_id", batches))
            connection.execute(f"CREATE TEMP TABLE logged_{name} AS SELECT * FROM arriving")
        fill(connection)
        yield log


def fill(connection):
    """The warehouse's own tables from those of the log."""
    for table in ("exposure_rows", "event_rows", "identity_rows"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute(
        "INSERT INTO exposure_rows SELECT row_number() OVER (), 'checkout', unit_id, variant, exposed_at, "
        "json_object('platform', platform, 'age', age, 'assigned', assigned)::VARCHAR, batch_id FROM logged_exposures"
    )
    connection.execute(
        "INSERT INTO event_rows SELECT row_number() OVER (), unit_id, event_code, occurred_at, value, "
        "json_object('country', country, 'item', item, 'pieces', pieces)::VARCHAR, batch_id "
        "FROM logged_events JOIN event_names USING (event)"
    )
    connection.execute(
        "INSERT INTO identity_rows SELECT row_number() OVER (), anonymous_id, known_id, linked_at, batch_id "
        "FROM logged_links"
    )


def arrange(log, until, *, policy="exclude", as_of=None, identity=None, linked=None):
    """Make the tables that the SQL reads: what had arrived, under the ids of people, and everybody.

    `linked` is the moment before which links count, that of the look unless given.
    """
    lab, connection = log.lab, log.warehouse.connection
    known = {
        "start": in_utc(lab.START),
        "end": in_utc(min(until, lab.END)),
        "planned_end": in_utc(lab.END),
        "look": in_utc(linked or until),
        "as_of": in_utc(as_of or log.ingested(BATCHES)),
    }
    steps = [(f"given_{name}", f"arrived_{name}") for name in ("exposures", "events", "links")]
    steps.append(("people", f"people_{identity or 'strict'}"))
    for table, name in steps:
        make_table(connection, table, name, known)
    if identity is None:
        connection.execute("DELETE FROM people")
    for table, name in (
        ("given_exposures", "exposures_of_people"),
        ("given_events", "events_of_people"),
        ("everybody", f"everybody_{policy}"),
    ):
        make_table(connection, table, name, known)


def look(log, tables, days, *, policy="exclude", as_of=None, identity=None, **changes):
    """What the engine finds, the SQL for the same look, and everybody it leaves out by reason."""
    lab, until = log.lab, log.lab.START + days * DAY
    experiment = lab.experiment(
        variants=VARIANTS,
        success=["proportion"],
        segments=["platform"],
        several_variants=policy,
        **({} if identity is None else {"identity": identity}),
        **changes,
    )
    metrics = list(metrics_of(tables).values())
    found = read_moments(log.warehouse, experiment, metrics, until=until, as_of=as_of)
    arrange(log, until, policy=policy, as_of=as_of, identity=identity)
    oracle = Oracle(log.warehouse, start=lab.START, end=min(until, lab.END), units="analysed_units")
    return found, oracle


def agree_on_units(log, found, oracle):
    """Everybody is accounted for: by variant, by reason, and who is analysed."""
    connection = log.warehouse.connection
    by_variant = dict(connection.sql("SELECT variant, count(*) FROM everybody GROUP BY variant").fetchall())
    left_out = dict(
        connection.sql("SELECT reason, count(*) FROM everybody WHERE reason IS NOT NULL GROUP BY reason").fetchall()
    )
    assert found.exposed.by_variant == by_variant
    assert found.exposed.excluded == left_out
    assert found.exposed.analysed == oracle.analysed
    rows = connection.sql("SELECT unit_id, variant FROM oracle_units ORDER BY unit_id").fetchnumpy()
    mine = found.assignments.analysed
    assert np.array_equal(found.assignments.unit_id[mine], rows["unit_id"])
    assert np.array_equal(np.array(found.assignments.variants)[found.assignments.variant[mine]], rows["variant"])
    assert min(oracle.analysed[name] for name in ("old", "new")) > 100
    return left_out


@pytest.mark.parametrize("days", DAYS)
@pytest.mark.parametrize("policy", POLICIES)
def test_units_seen_in_several_variants_are_where_the_policy_says(log, policy, days):
    found, oracle = look(log, EVERY, days, policy=policy)
    left_out = agree_on_units(log, found, oracle)
    assert ("several_variants" in left_out) == (policy == "exclude")
    assert {"before_start", "after_end"} | ({"in_the_future"} if days == RUNNING else set()) <= left_out.keys()
    compare((log.lab, log.warehouse), found, oracle, EVERY, days)


@pytest.mark.parametrize(
    ("days", "batch"), [pytest.param(ENDED, 4, marks=SLOW), pytest.param(RUNNING, 2, marks=SLOW), (RUNNING, 5)]
)
def test_as_of_a_moment_only_what_had_been_ingested_by_then_counts(log, days, batch):
    """The last pair looks back with late data: ingested after the look, of before it."""
    found, oracle = look(log, EVERY, days, as_of=log.ingested(batch), policy="as_assigned")
    agree_on_units(log, found, oracle)
    compare((log.lab, log.warehouse), found, oracle, EVERY, days)
    earlier, oracle = look(log, SOME, days, as_of=log.ingested(batch) - TICK, policy="as_assigned")
    agree_on_units(log, earlier, oracle)
    compare((log.lab, log.warehouse), earlier, oracle, SOME, days)
    assert earlier.exposed.total < found.exposed.total


@pytest.mark.parametrize("days", DAYS)
@pytest.mark.parametrize("identity", IDENTITIES)
def test_anonymous_units_are_who_the_policy_of_identities_says(log, identity, days):
    found, oracle = look(log, EVERY, days, identity=identity)
    left_out = agree_on_units(log, found, oracle)
    assert ("ambiguous_identity" in left_out) == (identity == "strict")
    compare((log.lab, log.warehouse), found, oracle, EVERY, days)


@pytest.mark.parametrize("identity", ["strict", *(pytest.param(each, marks=SLOW) for each in IDENTITIES[1:])])
def test_identities_policies_and_as_of_work_together(log, identity):
    found, oracle = look(log, SOME, RUNNING, identity=identity, policy="as_assigned", as_of=log.ingested(3))
    agree_on_units(log, found, oracle)
    compare((log.lab, log.warehouse), found, oracle, SOME, RUNNING)


@pytest.mark.parametrize("identity", [None, *IDENTITIES])
def test_history_that_caps_are_frozen_from_is_that_of_people_known_before_the_start_as_of_a_moment(log, identity):
    lab, name = log.lab, "capped_by_history"
    changes = {} if identity is None else {"identity": identity}
    experiment = lab.experiment(variants=VARIANTS, success=[name], **changes)
    frozen = history_ends(
        log.warehouse, experiment, list(metrics_of({name: CAPPED[name]}).values()), as_of=log.ingested(3)
    )
    arrange(log, lab.END, as_of=log.ingested(3), identity=identity, linked=lab.START)
    rows = Oracle(log.warehouse, start=lab.START, end=lab.END, units="analysed_units").rows(name)
    assert frozen[f"{name}:0"] == pytest.approx([rows["x_low"][0], rows["x_high"][0]], rel=1e-12)


@pytest.mark.parametrize("days", DAYS)
@pytest.mark.parametrize("name", MOVING)
def test_moving_caps_cut_at_quantiles_of_the_units_of_the_look(log, name, days):
    found, oracle = look(log, {name: MOVING[name]}, days, policy="first")
    end = min(log.lab.START + days * DAY, log.lab.END)
    closes = 5 if name == "moving_cap" and days == RUNNING else None
    rows = oracle.rows(name, day=end, closes=closes)
    (low, high), *_ = found.metrics[name].caps
    assert high == pytest.approx(rows["x_high"][0], rel=1e-12)
    assert low == pytest.approx(rows["x_low"][0] if "x_low" in rows else 1.0, rel=1e-12)
    numbers = columns_of(rows)
    assert np.isclose(numbers[:, 0], high, rtol=1e-12, atol=0).sum() > 20
    agree(found.metrics[name].total, numbers, cells_of(rows), name)
    agree(found.metrics[name].daily[:, -1], numbers, cells_of(rows), name)
    assert set(NAMES) == set(found.variants)
