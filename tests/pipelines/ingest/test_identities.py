"""Identities come in as exposures and events do: counted, deduplicated, refused with a reason."""

import pytest

from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest import ingest_identities
from pipelines.ingest.errors import MissingColumnError

GOOD = """anonymous_id,known_id,linked_at
a1,k1,2026-03-01 10:00:00
a2,k1,2026-03-01T11:00:00+01:00
a1,k2,2026-03-02 10:00:00
"""


def test_links_are_stored_as_numbers_of_units_with_a_ledger_entry(warehouse, write):
    summary = ingest_identities(warehouse, write("links.csv", GOOD))
    assert (summary.read, summary.accepted, summary.duplicates, summary.rejected) == (3, 3, 0, 0)
    number = {name: f"md5_number('{name}') & 9223372036854775807" for name in ("a2", "k1")}
    (row,) = warehouse.rows(
        f"SELECT linked_at, source, batch_id FROM identities WHERE anonymous_id = {number['a2']} "
        f"AND known_id = {number['k1']}"
    )
    assert (str(row["linked_at"]), row["source"], row["batch_id"]) == ("2026-03-01 10:00:00", "default", 1)
    (ledger,) = warehouse.rows("SELECT table_name, rows_read, accepted FROM batches")
    assert ledger == {"table_name": "identities", "rows_read": 3, "accepted": 3}


def test_the_same_file_and_the_same_link_in_another_file_change_nothing(warehouse, write, contents):
    path = write("links.csv", GOOD)
    ingest_identities(warehouse, path)
    before = warehouse.rows("SELECT * FROM identity_rows ORDER BY ALL")
    again = ingest_identities(warehouse, path)
    assert (again.accepted, again.duplicates) == (0, 3)
    shuffled = "\n".join([GOOD.splitlines()[0], *reversed(GOOD.splitlines()[1:])]) + "\n"
    other = ingest_identities(warehouse, write("other.csv", shuffled))
    assert (other.accepted, other.duplicates) == (0, 3)
    assert warehouse.rows("SELECT * FROM identity_rows ORDER BY ALL") == before


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",k1,2026-03-01", "anonymous_id is missing"),
        ("a1,,2026-03-01", "known_id is missing"),
        ("a1,k1,soon", "linked_at is not a time"),
        ("k1,k1,2026-03-01", "anonymous_id and known_id are the same"),
    ],
)
def test_a_row_that_cannot_be_a_link_is_kept_with_its_reason(warehouse, write, row, reason):
    summary = ingest_identities(warehouse, write("links.csv", GOOD + row + "\n"))
    assert (summary.read, summary.accepted, summary.rejected) == (4, 3, 1)
    (found,) = warehouse.rows("SELECT table_name, row_number, reason FROM rejected")
    assert (found["table_name"], found["row_number"]) == ("identities", 4)
    assert reason in found["reason"]


def test_a_missing_column_is_named(warehouse, write):
    with pytest.raises(MissingColumnError, match="known_id"):
        ingest_identities(warehouse, write("links.csv", "anonymous_id,linked_at\na,2026-03-01\n"))


def test_other_names_of_columns_are_taken(warehouse, write):
    path = write("links.csv", "device;person;ts\na1;k1;2026-03-01T00:00:00Z\n")
    summary = ingest_identities(warehouse, path, columns={"anonymous_id": "device", "known_id": "person"})
    assert summary.accepted == 1


def test_a_warehouse_from_before_gets_the_table_when_it_is_written_to(warehouse, write):
    warehouse.connection.execute("DROP VIEW identities")
    warehouse.connection.execute("DROP TABLE identity_rows")
    warehouse.connection.close()
    with open_warehouse(warehouse.path) as again:
        assert ingest_identities(again, write("links.csv", GOOD)).accepted == 3
