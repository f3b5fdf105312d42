"""Who an anonymous unit is taken for under each policy, and what that does to the exposed ids."""

from datetime import UTC, datetime

import pytest

from pipelines.analysis.identity import NoIdentitiesError, identify, identity_record
from pipelines.ingest import ingest_exposures, ingest_identities

# a1 has two known ids, k1 and then k2; a2 and a3 are one person's devices; a4 was linked after the look.
LINKS = """anonymous_id,known_id,linked_at
a1,k2,2026-03-04T00:00:00Z
a1,k1,2026-03-03T00:00:00Z
a1,k1,2026-03-02T12:00:00Z
a2,k3,2026-03-03T00:00:00Z
a3,k3,2026-03-05T00:00:00Z
a4,k4,2026-03-09T00:00:00Z
"""
EXPOSURES = "experiment,unit_id,variant,exposed_at\n" + "".join(
    f"checkout,{unit},old,2026-03-02T08:00:00Z\n" for unit in ("a1", "a2", "a3", "a4", "k3", "z")
)
LOOK = datetime(2026, 3, 8, tzinfo=UTC)


@pytest.fixture
def linked(lab, tmp_path):
    links, exposures = tmp_path / "links.csv", tmp_path / "exposures.csv"
    links.write_text(LINKS, encoding="utf-8")
    exposures.write_text(EXPOSURES, encoding="utf-8")
    with lab.warehouse() as warehouse:
        ingest_exposures(warehouse, exposures, known={"checkout": frozenset({"old", "new"})})
        ingest_identities(warehouse, links)
        yield warehouse


def units(warehouse, policy, **limits) -> dict[str, tuple[str, bool]]:
    """Spelled: which unit each anonymous id is taken for, and whether it is ambiguous."""
    identify(warehouse, policy, until=limits.pop("until", LOOK), **limits)
    rows = warehouse.rows(
        "WITH names AS (SELECT name, md5_number(name) & 9223372036854775807 AS id FROM "
        "(SELECT unnest(['a1', 'a2', 'a3', 'a4', 'k1', 'k2', 'k3', 'k4']) AS name)) "
        "SELECT a.name AS anonymous, u.name AS unit, ambiguous FROM identified_units "
        "JOIN names a ON a.id = anonymous_id JOIN names u ON u.id = unit_id"
    )
    return {row["anonymous"]: (row["unit"], row["ambiguous"]) for row in rows}


@pytest.mark.parametrize(
    ("policy", "first"),
    [("strict", ("a1", True)), ("first_touch", ("k1", False)), ("last_touch", ("k2", False))],
)
def test_each_policy_takes_its_known_id(linked, policy, first):
    assert units(linked, policy) == {"a1": first, "a2": ("k3", False), "a3": ("k3", False)}


def test_links_at_or_after_the_look_do_not_count(linked):
    assert units(linked, "strict", until=datetime(2026, 3, 4, tzinfo=UTC)) == {
        "a1": ("k1", False),
        "a2": ("k3", False),
    }
    assert "a4" in units(linked, "strict", until=datetime(2026, 3, 10, tzinfo=UTC))


def test_only_what_had_been_ingested_counts(linked):
    assert units(linked, "strict", as_of=datetime(2000, 1, 1, tzinfo=UTC)) == {}


def test_the_fan_out_is_counted_both_ways_with_what_each_policy_leaves_out(linked, lab):
    record = identity_record(linked, lab.experiment(identity="first_touch"), until=LOOK)
    assert (record.policy, record.anonymous, record.known) == ("first_touch", 3, 3)
    assert (record.anonymous_with_several_known, record.most_known) == (1, 2)
    assert (record.known_with_several_anonymous, record.most_anonymous) == (1, 2)
    assert record.links_unused == 1
    assert record.left_out == {"strict": 1, "first_touch": 0, "last_touch": 0}
    # a2, a3 and k3 are one unit.
    assert record.merged == 2
    assert units(linked, "first_touch")["a1"] == ("k1", False)


def test_two_known_ids_at_one_moment_are_taken_in_a_fixed_order(lab, tmp_path):
    found = set()
    for order in (["k1", "k2"], ["k2", "k1"]):
        links = tmp_path / "ties.csv"
        rows = "".join(f"a1,{known},2026-03-03T00:00:00Z\n" for known in order)
        links.write_text("anonymous_id,known_id,linked_at\n" + rows, encoding="utf-8")
        with lab.warehouse() as warehouse:
            ingest_identities(warehouse, links)
            found.add((units(warehouse, "first_touch")["a1"], units(warehouse, "last_touch")["a1"]))
    assert len(found) == 1
    ((first, last),) = found
    assert first == last


def test_an_experiment_without_a_policy_has_no_record_and_one_without_a_map_is_refused(linked, lab):
    assert identity_record(linked, lab.experiment(), until=LOOK) is None
    with pytest.raises(NoIdentitiesError, match="rampwise ingest identities"):
        identity_record(linked, lab.experiment(identity="strict"), until=datetime(2026, 3, 1, tzinfo=UTC))
