"""The demo's log files: Parquet, CSV, gzipped CSV and JSON lines, with the flaws that real logs have."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DUPLICATED_SHARE = 0.003
FORMATS = (".parquet", ".csv", ".csv.gz", ".jsonl")

# Rows no log should hold; each is refused with its reason and shown by the ledger.
FLAWED_EXPOSURES: tuple[dict[str, str | None], ...] = (
    {"variant": "guest_chekout"},
    {"variant": None},
    {"unit_id": None},
    {"exposed_at": "yesterday"},
    {"exposed_at": "2026-02-31T10:00:00+00:00"},
    {"experiment": "mandatory_acount"},
)
FLAWED_EVENTS: tuple[dict[str, str | None], ...] = (
    {"value": "12,50"},
    {"value": "NaN"},
    {"value": "Infinity"},
    {"unit_id": None},
    {"event": None},
    {"occurred_at": "soon"},
    {"occurred_at": None},
)


def with_duplicates(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """The table with a few of its rows repeated at the end, as retries of a logger do."""
    again = rng.choice(len(table), size=int(len(table) * DUPLICATED_SHARE), replace=False)
    return pa.concat_tables([table, table.take(pa.array(np.sort(again)))])


def flawed_rows(table: pa.Table, flaws: tuple[dict[str, str | None], ...]) -> list[dict[str, object]]:
    """Copies of the table's first rows, each with a flaw."""
    rows = _plain(table.slice(0, len(flaws)))
    return [
        {**row, "event_id": f"flawed-{place}", **flaw}
        for place, (row, flaw) in enumerate(zip(rows, flaws, strict=True))
    ]


def write_log(path: Path, table: pa.Table, *, extra: list[dict[str, object]] | None = None) -> None:
    """Write a table in the format of the file's ending.

    Parameters
    ----------
    extra
        Rows to append as they are; text formats only.
    """
    if path.name.endswith(".parquet"):
        pq.write_table(table, path, compression="zstd")
        return
    rows = [*_plain(table), *({key: row.get(key) for key in table.column_names} for row in extra or ())]
    if path.name.endswith(".jsonl"):
        text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    else:
        lines = [",".join(table.column_names), *(",".join(map(_cell, row.values())) for row in rows)]
        text = "\n".join(lines) + "\n"
    content = text.encode()
    # A fixed time in the header: the same rows give the same bytes.
    path.write_bytes(gzip.compress(content, compresslevel=6, mtime=0) if path.name.endswith(".gz") else content)


def _plain(table: pa.Table) -> list[dict[str, object]]:
    """Rows with times as text."""
    columns = {
        name: np.char.add(np.datetime_as_string(table[name].to_numpy(), unit="ms"), "+00:00").tolist()
        if pa.types.is_timestamp(table.schema.field(name).type)
        else table[name].to_pylist()
        for name in table.column_names
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f'"{text}"' if "," in text else text
