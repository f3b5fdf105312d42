"""Acknowledged events per second of `rampwise collect`: 1, 20 and 100 events per request, one worker, a real disk.

    python -P tests/bench/collector.py [--seconds 5] [--connections 64]

The load generator runs on the same machine and takes its share of the processors, so these are lower bounds; its share
is printed. A request counts when its 202 has arrived, which is after its bytes are synced; at the end the rows on disk
are counted and must be all that were acknowledged. Goals: 4,000 requests per second with one event each, 50,000 events
per second in batches; the exit code is 1 where one is missed. Beside them, measured in the same minute: how many syncs
of as many bytes the disk does when nothing else happens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from pipelines.config import create_workspace

GOALS = {1: 4_000, 20: 50_000, 100: 50_000}
ACCEPTED = b"HTTP/1.1 202"


class Client(asyncio.Protocol):
    """One connection: sends a request, waits for the whole answer, sends the next."""

    def __init__(self, request: bytes) -> None:
        self.request, self.answers, self.refused, self.waits = request, 0, 0, []
        self.going, self.received = True, b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < int(re.search(rb"content-length: (\d+)", head)[1]):
            return
        self.received = b""
        self.waits.append(time.perf_counter() - self.sent)
        if head.startswith(ACCEPTED):
            self.answers += 1
        else:
            self.refused += 1
        if self.going:
            self.send()


def request_of(rows: int) -> bytes:
    events = [
        {
            "event_id": f"0193f2c4-7b1e-7a52-9c55-{number:012d}",
            "unit_id": f"user-{number * 7919}",
            "event": "order_completed",
            "occurred_at": "2026-03-01T10:00:00.123Z",
            "value": 49.9,
            "country": "DE",
            "device": "phone",
        }
        for number in range(rows)
    ]
    body = json.dumps(events).encode()
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


async def measure(port: int, request: bytes, *, connections: int, seconds: float) -> tuple[float, list[float], int]:
    """Answers per second without the first half second, sorted waits in seconds of all answers, and refusals."""
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(request), "127.0.0.1", port)
        clients.append(client)
    await asyncio.sleep(0.5)
    before, started = sum(client.answers for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    answers, took = sum(client.answers for client in clients) - before, time.perf_counter() - started
    for client in clients:
        client.going = False
    await asyncio.sleep(0.5)
    waits = sorted(wait for client in clients for wait in client.waits)
    for client in clients:
        client.transport.close()
    return answers / took, waits, sum(client.refused for client in clients)


def syncs_per_second(folder: Path, size: int) -> float:
    """What the disk alone can do."""
    descriptor = os.open(folder / "syncs", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    data, count, started = b"x" * size, 0, time.perf_counter()
    while time.perf_counter() - started < 1:
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        count += 1
    os.close(descriptor)
    (folder / "syncs").unlink()
    return count / (time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    missed = acknowledged = 0
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        workspace = create_workspace(Path(folder) / "team")
        command = [sys.executable, "-c", "from app.cli import main; main()", "--workspace", str(workspace.root)]
        process = subprocess.Popen(
            [*command, "collect", "--port", "0", "--rate", "10000000", "--seal-mb", "64"],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            port = next(int(found[1]) for line in process.stderr if (found := re.search(r":(\d+) \(Ctrl-C", line)))
            for rows, goal in GOALS.items():
                request = request_of(rows)
                ours = time.process_time()
                rate, waits, refused = uvloop.run(
                    measure(port, request, connections=options.connections, seconds=options.seconds)
                )
                ours = (time.process_time() - ours) / (options.seconds + 1)
                reached = rate * rows
                acknowledged += (len(waits) - refused) * rows
                missed += reached < goal or refused > 0
                alone = syncs_per_second(Path(folder), len(request))
                print(
                    f"{rows:>3} per request: {rate:>8,.0f} requests/s {reached:>9,.0f} events/s (goal {goal:,}), "
                    f"median {waits[len(waits) // 2] * 1e3:.1f} ms, 99 % {waits[len(waits) * 99 // 100] * 1e3:.1f} ms, "
                    f"refused {refused}; load generator {ours:.0%} of a processor; "
                    f"syncs without a server {alone:,.0f}/s, {rate / alone:.1f} requests per sync of that disk",
                    flush=True,
                )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            process.stderr.close()
        stored = sum(path.read_bytes().count(b"\n") for path in (workspace.inbox / "events").glob("*.jsonl"))
    print(f"acknowledged {acknowledged:,} events, on disk {stored:,}")
    missed += stored < acknowledged
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"collector: {used.ru_utime + used.ru_stime:.1f} processor seconds, peak memory {used.ru_maxrss / 1024:,.0f} MB"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
