from __future__ import annotations

import errno
import os
from datetime import UTC, datetime

import pytest

from pipelines.collection import segments
from pipelines.collection.collector import Collector
from pipelines.collection.errors import CollectorBusyError
from pipelines.collection.limits import Limits
from pipelines.collection.segments import Segment, recover

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINE = b'{"unit_id":"u1"}\n'


def test_a_segment_has_a_hidden_name_until_it_is_sealed(tmp_path) -> None:
    segment = Segment(tmp_path, now=NOW)
    segment.commit(LINE * 3)
    assert segment.path.name.startswith(".collector-20260301T120000Z-")
    assert segment.path.name.endswith(".jsonl.part")
    path = segment.seal()
    assert path == tmp_path / segment.path.name.removeprefix(".").removesuffix(".part")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == LINE * 3


def test_an_empty_segment_leaves_no_file(tmp_path) -> None:
    assert Segment(tmp_path, now=NOW).seal() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("left", "kept", "torn"),
    [
        (b"", b"", 0),
        (b'{"unit', b"", 6),
        (LINE, LINE, 0),
        (LINE + b'{"uni', LINE, 5),
        (LINE * 2 + bytes(5000), LINE * 2, 5000),
        (LINE + b"x" * (segments.BLOCK * 2 + 7), LINE, segments.BLOCK * 2 + 7),
        (
            b"x" * (segments.BLOCK - 1) + b"\n" + b"y" * segments.BLOCK,
            b"x" * (segments.BLOCK - 1) + b"\n",
            segments.BLOCK,
        ),
    ],
)
def test_recovery_seals_whole_lines_and_counts_the_torn_one(tmp_path, left, kept, torn) -> None:
    (tmp_path / ".collector-20260301T120000Z-00.jsonl.part").write_bytes(left)
    (tmp_path / ".somebody-elses.part").write_bytes(b"not ours")
    recovery = recover(tmp_path)
    assert recovery.torn_bytes == torn
    assert [path.read_bytes() for path in recovery.sealed] == ([kept] if kept else [])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".somebody-elses.part", *(path.name for path in recovery.sealed)]
    )
    assert recover(tmp_path).sealed == ()


def test_a_write_that_finds_no_room_halfway_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    segment = Segment(tmp_path, now=NOW)
    segment.commit(LINE)
    real, writes = os.write, []

    def short(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        if len(writes) == 1:
            return real(descriptor, bytes(data)[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space left"):
            segment.commit(LINE)
    assert len(writes) == 2
    assert segment.trusted
    segment.commit(LINE)
    assert segment.seal().read_bytes() == LINE * 2


def test_a_file_that_cannot_be_cut_back_keeps_its_hidden_name_until_recovery(tmp_path, monkeypatch) -> None:
    segment = Segment(tmp_path, now=NOW)
    segment.commit(LINE)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", fail)
        patched.setattr(segments, "sync_data", fail)
        with pytest.raises(OSError, match="Input/output"):
            segment.commit(LINE[:-1])
        assert not segment.trusted
        with pytest.raises(OSError, match="Input/output"):
            segment.seal()
    recovery = recover(tmp_path)
    assert [path.read_bytes() for path in recovery.sealed] == [LINE]
    assert recovery.torn_bytes == len(LINE) - 1


def test_two_collectors_never_share_a_workspace(tmp_path) -> None:
    def collector() -> Collector[None]:
        return Collector(tmp_path / "inbox", data=tmp_path / "data", limits=Limits(), settle=lambda *_: None)

    first = collector()
    with pytest.raises(CollectorBusyError, match=f"process {os.getpid()}"):
        collector()
    first.close()
    collector().close()
