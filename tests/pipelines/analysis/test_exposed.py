from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.analysis.assignments import find_exposed

HOUR, DAY, TICK = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)


def test_a_unit_counts_once_with_its_first_exposure(lab, filled):
    start = lab.START
    warehouse = filled([(1, "old", start + 3 * HOUR), (1, "old", start + HOUR), (2, "new", start + HOUR)])
    exposed = find_exposed(warehouse, lab.experiment(), now=lab.END)
    assert exposed.analysed == {"old": 1, "new": 1}
    assert warehouse.rows("SELECT exposed_at FROM assignments WHERE unit_id = 1") == [
        {"exposed_at": (start + HOUR).replace(tzinfo=None)}
    ]
    assert exposed.latest == start + HOUR


def test_the_start_belongs_to_the_experiment_and_the_end_does_not(lab, filled):
    start, end = lab.START, lab.END
    warehouse = filled([(1, "old", start - TICK), (2, "old", start), (3, "old", end - TICK), (4, "old", end)])
    exposed = find_exposed(warehouse, lab.experiment(), now=end + DAY)
    assert exposed.analysed == {"old": 2, "new": 0}
    assert exposed.excluded == {"before_start": 1, "after_end": 1}


def test_a_unit_in_several_variants_is_excluded_and_counted(lab, filled):
    warehouse = filled([(1, "old", lab.START), (1, "new", lab.START + DAY), (2, "new", lab.START)])
    exposed = find_exposed(warehouse, lab.experiment(), now=lab.END)
    assert exposed.analysed == {"old": 0, "new": 1}
    assert exposed.excluded == {"several_variants": 1}
    assert exposed.by_variant == {"old": 1, "new": 1}


def test_what_everybody_gets_after_the_end_is_no_second_variant(lab, filled):
    warehouse = filled([(1, "old", lab.START), (1, "new", lab.END)])
    exposed = find_exposed(warehouse, lab.experiment(), now=lab.END + DAY)
    assert exposed.analysed == {"old": 1, "new": 0}
    assert exposed.excluded == {}


def test_exposures_later_than_the_look_are_set_aside(lab, filled):
    now = lab.START + DAY
    warehouse = filled([(1, "old", lab.START), (2, "new", now), (3, "new", now + HOUR)])
    exposed = find_exposed(warehouse, lab.experiment(), now=now)
    assert exposed.excluded == {"in_the_future": 2}


def test_a_variant_that_is_not_defined_is_named(lab, filled):
    warehouse = filled([(1, "old", lab.START), (2, "nwe", lab.START)])
    exposed = find_exposed(warehouse, lab.experiment(), now=lab.END)
    assert exposed.unknown == ("nwe",)
    assert exposed.excluded == {"unknown_variant": 1}
    assert exposed.total == 2


def test_other_experiments_do_not_count(lab, filled):
    warehouse = filled([(1, "old", lab.START)])
    assert find_exposed(warehouse, lab.experiment(name="another"), now=lab.END).total == 0


def test_times_of_other_zones_are_the_same_moments(lab, filled):
    moved = {name: moment.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+05:30").tzinfo)
             for name, moment in (("start", lab.START), ("end", lab.END))}  # fmt: skip
    warehouse = filled([(1, "old", lab.START), (2, "new", lab.END)])
    exposed = find_exposed(warehouse, lab.experiment(**moved), now=lab.END + DAY)
    assert exposed.analysed == {"old": 1, "new": 0}


rows = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["old", "new", "nwe"]),
        st.integers(-40, 400).map(lambda hours: datetime.fromisoformat("2026-03-02T00:00:00+00:00") + hours * HOUR),
    ),
    max_size=40,
)


def test_exposed_is_analysed_plus_excluded_whatever_the_log_holds(lab):
    with lab.warehouse() as warehouse:

        @settings(max_examples=60, deadline=None)
        @given(rows)
        def check(given_rows):
            lab.load(warehouse, lab.exposures(given_rows), lab.events([]))
            exposed = find_exposed(warehouse, lab.experiment(), now=lab.START + 10 * DAY)
            assert exposed.total == len({unit for unit, _, _ in given_rows})
            assert exposed.total == sum(exposed.analysed.values()) + sum(exposed.excluded.values())

        check()
