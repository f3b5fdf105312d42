"""Files that grow without measure when they are unpacked: refused with a name, kept aside, and memory stays bounded."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HEAD = b"event_id,unit_id,event,occurred_at\n"
GOOD = HEAD + b"e1,u1,buy,2026-03-01\n"
LARGEST = 40_000_000
MOST_MEMORY_MB = 500
LOADING = """
import json, sys
from functools import partial
from pathlib import Path
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest.contract import Contract
from pipelines.ingest.gaps import Rules
from pipelines.ingest.inbox import ingest_inbox

root, largest = Path(sys.argv[1]), int(sys.argv[2])
opening = partial(open_warehouse, root / "data" / "warehouse.duckdb", threads=2, memory_limit="200MB")
rules = Rules(contract=Contract(largest_bytes=largest))
found = ingest_inbox(root / "inbox", root / "landed", opening, rules=rules, settle_seconds=0)
status = Path("/proc/self/status").read_text()  # of this program alone: ru_maxrss begins at the size of its parent
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
loaded = sum(map(len, found.loaded.values()))
print(json.dumps({"loaded": loaded, "refused": [each.error for each in found.refused], "peak_mb": peak}))
"""


def zeros(megabytes: int) -> bytes:
    """A gzip of as many blanks, a thousandth of their size."""
    return gzip.compress(HEAD + b" " * (megabytes * 1_000_000))


def plain(folder: Path) -> Path:
    path = folder / "bomb.csv.gz"
    path.write_bytes(zeros(300))
    return path


def without_its_ending(folder: Path) -> Path:
    path = folder / "bomb.csv"
    path.write_bytes(zeros(300))
    return path


def many_members(folder: Path) -> Path:
    path = folder / "bomb.csv.gz"
    path.write_bytes(gzip.compress(GOOD) + gzip.compress(b" " * 10_000_000) * 30)
    return path


def beyond_the_size(folder: Path) -> Path:
    rows = b"".join(f"e{number},{number * 7919 % 104729},buy,2026-03-01\n".encode() for number in range(1_800_000))
    path = folder / "bomb.csv.gz"
    path.write_bytes(gzip.compress(HEAD + rows, compresslevel=1))
    assert len(rows) > LARGEST
    return path


def gzip_in_gzip(folder: Path) -> Path:
    path = folder / "bomb.csv.gz"
    path.write_bytes(gzip.compress(zeros(300)))
    return path


def zstandard(folder: Path) -> Path:
    path = folder / "bomb.csv"
    path.write_bytes(pa.compress(HEAD + b" " * 300_000_000, codec="zstd", asbytes=True))
    return path


def rows_without_bytes(folder: Path) -> Path:
    path = folder / "bomb.parquet"
    names = ("unit_id", "event", "occurred_at", "note")
    group = pa.table({name: pa.nulls(5_000_000, pa.string()) for name in names})
    with pq.ParquetWriter(path, group.schema) as writer:
        for _ in range(6):
            writer.write_table(group)
    return path


def one_long_text_many_times(folder: Path) -> Path:
    path, count = folder / "bomb.parquet", 100_000
    note = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array(["x" * 1_000_000]))
    texts = {"unit_id": "u", "event": "buy", "occurred_at": "2026-03-01"}
    table = pa.table({**{name: pa.array([text] * count) for name, text in texts.items()}, "note": note})
    pq.write_table(table, path, compression="zstd")
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("make", "limit", "words"),
    [
        (plain, 50_000_000_000, "unpacks to"),
        pytest.param(without_its_ending, 50_000_000_000, "unpacks to", marks=pytest.mark.slow),
        pytest.param(many_members, 50_000_000_000, "unpacks to", marks=pytest.mark.slow),
        pytest.param(beyond_the_size, LARGEST, "unpacks to", marks=pytest.mark.slow),
        pytest.param(gzip_in_gzip, 50_000_000_000, "gzip inside gzip", marks=pytest.mark.slow),
        (zstandard, 50_000_000_000, "it is Zstandard"),
        pytest.param(rows_without_bytes, 50_000_000_000, "unpacks to", marks=pytest.mark.slow),
        pytest.param(one_long_text_many_times, 50_000_000_000, "unpacks to", marks=pytest.mark.slow),
    ],
)
def test_a_bomb_is_refused_by_name_kept_aside_and_the_file_behind_it_is_loaded(
    tmp_path: Path, make, limit: int, words: str
) -> None:
    folder = tmp_path / "inbox" / "events"
    folder.mkdir(parents=True)
    bomb = make(folder)
    content = bomb.read_bytes()
    (folder / "z.csv").write_bytes(GOOD)
    os.utime(bomb, (1_700_000_000, 1_700_000_000))
    (tmp_path / "landed").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOADING, tmp_path, str(limit)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["loaded"] == 1
    [error] = found["refused"]
    assert words in error
    assert bomb.name in error
    [aside] = [each for each in (tmp_path / "inbox" / "refused" / "events").iterdir() if each.suffix != ".json"]
    assert aside.read_bytes() == content
    assert found["peak_mb"] < MOST_MEMORY_MB
