"""What the collector answers over a real connection, and what then lies in the inbox."""

from __future__ import annotations

import concurrent.futures
import errno
import gzip
import json
import os
import socket
import subprocess
import threading
import time
import zlib

import pytest

from pipelines.collection import segments
from pipelines.collection.keys import read_keys
from pipelines.collection.limits import Limits

EVENT = {"unit_id": "u1", "event": "purchase", "occurred_at": "2026-03-01T10:00:00Z", "value": 12.5, "event_id": "e1"}
EXPOSURE = {"experiment": "checkout", "unit_id": "u1", "variant": "control", "exposed_at": 1772359200123}
SECRET = "canary-7f3a9c51e0b24d68"


def test_an_accepted_batch_is_on_disk_before_the_answer_and_sealed_at_the_end(serve) -> None:
    with serve() as service:
        answer = service.send([EVENT, {**EVENT, "event_id": 2, "page": {"path": "/a"}}])
        assert (answer.status, answer.content) == (202, {"accepted": 2})
        assert service.rows() == [EVENT, {**EVENT, "event_id": 2, "page": {"path": "/a"}}]
        assert service.send({"exposures": [EXPOSURE]}, kind="exposures").status == 202
        assert service.rows("exposures") == [EXPOSURE]
        assert all(path.name.startswith(".") for path in (service.inbox / "events").iterdir())
    assert [path.suffix for path in (service.inbox / "events").iterdir()] == [".jsonl"]
    assert len(service.rows()) == 2


def test_a_segment_is_sealed_when_it_is_old_or_large(serve) -> None:
    with serve(limits=Limits(free_bytes=0, seal_seconds=0.05)) as service:
        service.send([EVENT])
        deadline = time.monotonic() + 10
        while not list((service.inbox / "events").glob("*.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(list((service.inbox / "events").glob("*.jsonl"))) == 1
    with serve(limits=Limits(free_bytes=0, seal_bytes=1)) as service:
        service.send([EVENT], kind="events")
        service.send([EVENT], kind="events")
    assert len(list((service.inbox / "events").glob("*.jsonl"))) == 3


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        (b"", "malformed_json", None),
        (b"[{", "malformed_json", None),
        (b'[{"unit_id": "\xff"}]', "malformed_json", None),
        (b"[NaN]", "malformed_json", None),
        (b"3", "not_a_batch", None),
        (b'{"exposures": []}', "not_a_batch", None),
        (json.dumps({"events": [EVENT], "more": 1}).encode(), "not_a_batch", None),
        (b"[]", "empty_batch", None),
        (b"[3]", "invalid_row", None),
        (json.dumps([EVENT, {**EVENT, "unit_id": None}]).encode(), "invalid_row", "unit_id"),
        (json.dumps([EVENT, {**EVENT, "unit_id": "  "}]).encode(), "invalid_row", "unit_id"),
        (json.dumps([EVENT, {**EVENT, "unit_id": 1.5}]).encode(), "invalid_row", "unit_id"),
        (json.dumps([EVENT, {**EVENT, "unit_id": 10**30}]).encode(), "invalid_row", "unit_id"),
        (json.dumps([EVENT, {**EVENT, "event": ["purchase"]}]).encode(), "invalid_row", "event"),
        (json.dumps([EVENT, {**EVENT, "event_id": True}]).encode(), "invalid_row", "event_id"),
        (json.dumps([EVENT, {**EVENT, "value": "12"}]).encode(), "invalid_row", "value"),
        (json.dumps([EVENT, {**EVENT, "occurred_at": None}]).encode(), "invalid_row", "occurred_at"),
        (json.dumps([EVENT, {**EVENT, "occurred_at": "yesterday"}]).encode(), "invalid_row", "occurred_at"),
        (json.dumps([EVENT, {**EVENT, "occurred_at": 12}]).encode(), "invalid_row", "occurred_at"),
        (json.dumps([EVENT, {**EVENT, "occurred_at": {}}]).encode(), "invalid_row", "occurred_at"),
    ],
)
def test_a_wrong_batch_is_refused_whole_with_row_and_field(serve, body, reason, field) -> None:
    with serve() as service:
        answer = service.send(body)
        assert (answer.status, answer.reason) == (400, reason)
        assert answer.content["error"].get("field") == field
        if field:
            assert answer.content["error"]["row"] == 1
        assert service.rows() == []


def test_wrong_paths_methods_types_and_encodings_have_their_own_reasons(serve) -> None:
    with serve() as service:
        body, json_type = json.dumps([EVENT]).encode(), {"Content-Type": "application/json; charset=utf-8"}
        for method, path, headers, status, reason in (
            ("POST", "/", json_type, 404, "not_found"),
            ("POST", "/v1/events/", json_type, 404, "not_found"),
            ("PUT", "/v1/events", json_type, 405, "wrong_method"),
            ("POST", "/healthz", json_type, 405, "wrong_method"),
            ("POST", "/v1/events", {"Content-Type": "text/plain"}, 400, "unsupported_content_type"),
            ("POST", "/v1/events", {}, 400, "unsupported_content_type"),
            ("POST", "/v1/events", {**json_type, "Content-Encoding": "br"}, 400, "unsupported_content_encoding"),
            ("POST", "/v1/events", {**json_type, "Content-Encoding": "gzip"}, 400, "broken_content_encoding"),
        ):
            answer = service.request(method, path, body, headers)
            assert (answer.status, answer.reason) == (status, reason), (method, path, headers)
        assert service.rows() == []
        assert service.request("POST", "/v1/events", body, json_type).status == 202


def test_bodies_are_limited_as_sent_and_as_unpacked(serve) -> None:
    limits = Limits(free_bytes=0, body_bytes=4_000, inflated_bytes=20_000, rows=50, row_bytes=1_000)
    with serve(limits=limits) as service:
        packed = gzip.compress(json.dumps([EVENT] * 50).encode())
        assert service.send(packed, Content_Encoding="gzip").content == {"accepted": 50}
        assert service.send(zlib.compress(json.dumps([EVENT]).encode()), Content_Encoding="deflate").status == 202
        for body, headers, reason in (
            (b" " * 4_001, {}, "body_too_large"),
            (gzip.compress(b"[" + b" " * 3_000_000 + b"]"), {"Content_Encoding": "gzip"}, "body_too_large"),
            (gzip.compress(json.dumps([EVENT] * 51).encode()), {"Content_Encoding": "gzip"}, "too_many_rows"),
            (json.dumps([{**EVENT, "note": "x" * 1_000}]).encode(), {}, "row_too_large"),
        ):
            answer = service.send(body, **headers)
            assert (answer.status, answer.reason) == (413, reason)
        cut = service.send(packed[:-9], Content_Encoding="gzip")
        assert (cut.status, cut.reason) == (400, "broken_content_encoding")
        assert len(service.rows()) == 51


def test_a_body_that_does_not_end_is_cut_off(serve) -> None:
    limits = Limits(free_bytes=0, body_bytes=1_000, body_seconds=0.2)
    head = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serve(limits=limits) as service:
        for rest, status, reason in (
            (b"Content-Length: 100\r\n\r\n[", b"408", b"request_too_slow"),
            (b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n", b"413", b"body_too_large"),
        ):
            with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
                connection.sendall(head + rest)
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 " + status), answer
                assert reason in answer
                assert b"connection: close" in answer.lower()


def test_only_valid_keys_may_write_and_they_may_not_read(serve) -> None:
    keys = read_keys(path=None, variable=f"web:{SECRET}, shop:{SECRET[::-1]}")
    with serve(keys=keys) as service:
        for headers in (
            {},
            {"Authorization": f"Basic {SECRET}"},
            {"Authorization": f"Bearer {SECRET}x"},
            {"X_Api_Key": "web"},
        ):
            answer = service.send([EVENT], **headers)
            assert (answer.status, answer.reason) == (401, "unauthorized"), headers
            assert answer.headers["www-authenticate"] == "Bearer"
        assert service.rows() == []
        assert service.send([EVENT], Authorization=f"bearer {SECRET}").status == 202
        assert service.send([EVENT], X_Api_Key=SECRET[::-1]).status == 202
        assert service.request("GET", "/v1/events", headers={"Authorization": f"Bearer {SECRET}"}).status == 405


def test_without_keys_a_page_from_elsewhere_cannot_send(serve) -> None:
    """DNS rebinding and cross-site posts: a browser on this machine runs pages of strangers."""
    with serve() as service:
        for host, status in (
            ("evil.example", 400),
            ("evil.example:8600", 400),
            ("localhost", 202),
            ("[::1]:8600", 202),
        ):
            assert service.send([EVENT], Host=host).status == status, host
        preflight = service.request("OPTIONS", "/v1/events", headers={"Origin": "http://evil.example"})
        assert preflight.status == 405
        assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_each_key_has_its_own_rate(serve) -> None:
    keys = read_keys(path=None, variable=f"web:{SECRET}\nshop:{SECRET[::-1]}")
    with serve(keys=keys, limits=Limits(free_bytes=0, rows_per_second=0.5, burst_seconds=4)) as service:
        assert service.send([EVENT] * 3, X_Api_Key=SECRET).status == 202  # overdraws
        answer = service.send([EVENT], X_Api_Key=SECRET)
        assert (answer.status, answer.reason) == (429, "rate_limited")
        assert 3 <= int(answer.headers["retry-after"]) <= 4
        assert service.send([EVENT], X_Api_Key=SECRET[::-1]).status == 202


def test_a_slow_disk_makes_clients_wait_and_then_come_again(serve, monkeypatch) -> None:
    released, real = threading.Event(), segments.sync_data

    def slow(descriptor: int) -> None:
        assert released.wait(30)
        real(descriptor)

    monkeypatch.setattr(segments, "sync_data", slow)
    with (
        serve(limits=Limits(free_bytes=0, waiting_bytes=400)) as service,
        concurrent.futures.ThreadPoolExecutor(3) as pool,
    ):
        waiting = [pool.submit(service.send, [EVENT]) for _ in range(3)]
        deadline = time.monotonic() + 10
        refused = service.send([EVENT] * 2)
        while refused.status != 503 and time.monotonic() < deadline:
            refused = service.send([EVENT] * 2)
        assert (refused.status, refused.reason, refused.headers["retry-after"]) == (503, "busy", "1")
        assert not any(answer.done() for answer in waiting)
        released.set()
        assert [answer.result(timeout=20).status for answer in waiting] == [202] * 3
        assert service.send([EVENT]).status == 202
        assert len(service.rows()) == 4


def test_no_space_is_507_and_nothing_of_the_batch_is_kept(serve) -> None:
    with serve(limits=Limits(free_bytes=1 << 60)) as service:
        answer = service.send([EVENT])
        assert (answer.status, answer.reason, answer.headers["retry-after"]) == (507, "disk_full", "30")
        health = service.request("GET", "/healthz")
        assert (health.status, health.content["status"]) == (503, "failing")
        assert "disk is full" in health.content["problem"]
    assert list((service.inbox / "events").iterdir()) == []


def test_a_disk_that_fills_up_refuses_and_goes_on_when_there_is_room_again(serve, tmp_path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with serve(folder=small) as service:
            rows = [{**EVENT, "event_id": number, "note": "x" * 900} for number in range(300)]
            answers = [service.send(rows[place : place + 10]) for place in range(0, 300, 10)]
            statuses = [answer.status for answer in answers]
            assert set(statuses) == {202, 507}
            kept = [row for place in range(30) if statuses[place] == 202 for row in rows[place * 10 : place * 10 + 10]]
            assert service.rows() == kept
            for path in (service.inbox / "events").glob("*.jsonl"):
                path.unlink()
            (service.inbox / "events").joinpath("other").unlink(missing_ok=True)
            subprocess.run(["mount", "-o", "remount,size=2m", small], check=True)
            assert service.send(rows[:10]).status == 202
            assert service.request("GET", "/healthz").status == 200
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_failed_sync_is_never_trusted_again(serve, monkeypatch) -> None:
    """After a failed sync the kernel may call lost pages clean: the next sync of the same file would succeed."""
    failing, real, synced = threading.Event(), segments.sync_data, []

    def sometimes(descriptor: int) -> None:
        if failing.is_set():
            failing.clear()
            raise OSError(errno.EIO, "Input/output error")
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(segments, "sync_data", sometimes)
    with serve() as service:
        assert service.send([EVENT]).status == 202
        first = synced[-1]
        failing.set()
        answer = service.send([{**EVENT, "event_id": "lost"}])
        assert (answer.status, answer.reason) == (503, "storage_failed")
        assert service.request("GET", "/healthz").status == 503
        assert service.send([{**EVENT, "event_id": "e3"}]).status == 202
        assert synced[-1] != first
        assert service.request("GET", "/healthz").content["accepted"] == {"events": 2, "exposures": 0}
        assert sorted(row["event_id"] for row in service.rows()) == ["e1", "e3"]
    assert len(list((service.inbox / "events").glob("*.jsonl"))) == 2


def test_health_counts_what_was_accepted_and_refused(serve) -> None:
    with serve() as service:
        service.send([EVENT] * 2)
        service.send(b"nonsense")
        answer = service.request("GET", "/healthz")
        assert answer.status == 200
        assert answer.content == {
            "status": "ok",
            "problem": None,
            "accepted": {"events": 2, "exposures": 0},
            "refused": {"malformed_json": 1},
            "waiting_bytes": 0,
        }
