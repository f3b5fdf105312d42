"""A file of plain signs is looked at once as a whole; its rows are judged like those of any other file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.ingest import ingest_events
from pipelines.ingest.contract import Contract
from pipelines.ingest.lines import is_plain_file

Write = Callable[..., Path]
CELLS = (
    "u1",
    "",
    " ",
    " u1",
    "u1 ",
    'say "u1"',
    "back\\slash",
    "a,b",
    "two\nlines",
    "\n",
    "x" * 512,
    "x" * 513,
    "~",
    "!",
)
STORED = "SELECT event_id, unit_id, event, occurred_at, value FROM events ORDER BY ALL"
LENIENT = Contract(most_rejected=1.0)
REFUSED = "SELECT reason, code, raw FROM rejected ORDER BY ALL"


def rows_of(cells: tuple[str, ...]) -> str:
    """Each cell once as the id, once as the unit and once as the event of an event."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(["event_id", "unit_id", "event", "ts", "value"])
    for place, cell in enumerate(cells):
        write.writerow([cell or f"without{place}", f"unit{place}", "purchase", "2026-03-01", "1"])
        write.writerow([f"u{place}", cell, "purchase", "2026-03-01", "1"])
        write.writerow([f"e{place}", f"unit{place}", cell, "2026-03-01 10:00:00", ""])
    return text.getvalue()


def test_a_plain_file_is_judged_like_one_that_is_not(warehouse: Warehouse, write: Write, tmp_path: Path) -> None:
    plain, other = write("plain.csv", rows_of(CELLS)), write("other.csv", rows_of(CELLS) + "é,unit,é,2020-03-01,\n")
    assert is_plain_file(plain)
    assert not is_plain_file(other)
    first = ingest_events(warehouse, plain, contract=LENIENT)
    with open_warehouse(tmp_path / "second.duckdb", threads=2) as second:
        more = ingest_events(second, other, contract=LENIENT)
        assert (more.accepted, more.rejected) == (first.accepted + 1, first.rejected)
        assert second.rows(REFUSED) == warehouse.rows(REFUSED)
        kept = [row for row in second.rows(STORED) if row["event"] != "é"]
    assert first.rejected > 0
    assert kept == warehouse.rows(STORED)


@pytest.mark.parametrize("letter", [b"\t", b"\r", b"\0", b"\x1f", b"\x7f", b"\x80", "é".encode(), b"\xff"])
@pytest.mark.parametrize("before", [0, 300_000])
def test_one_sign_that_is_not_plain_is_seen(tmp_path: Path, letter: bytes, before: int) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,~ !\n" * before)
    assert is_plain_file(path)
    path.write_bytes(b"a,~ !\n" * before + letter + b"b\n")
    assert not is_plain_file(path)
