from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.collector.serving import check_exposure, is_loopback
from pipelines.collection.errors import OpenToAllError
from pipelines.collection.keys import read_keys

SECRET = "canary-51e0b24d687f3a9c"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_keys(host) -> None:
    assert is_loopback(host)
    check_exposure(host, read_keys(path=None, variable=None))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "localhost.example", "rampwise.local", ""])
def test_beyond_loopback_there_must_be_keys(host) -> None:
    with pytest.raises(OpenToAllError, match="anybody could write"):
        check_exposure(host, read_keys(path=None, variable=None))
    check_exposure(host, read_keys(path=None, variable=f"web:{SECRET}"))


def test_the_command_refuses_an_open_door_and_unusable_keys(rampwise, team, tmp_path) -> None:
    refused = rampwise("--workspace", team, "collect", "--host", "0.0.0.0", "--port", "0")
    assert refused.exit_code == 2
    assert "--keys" in refused.stderr
    (tmp_path / "keys").write_text("web:short")
    unusable = rampwise("--workspace", team, "collect", "--keys", tmp_path / "keys", "--port", "0")
    assert unusable.exit_code == 2
    assert "16 to 256" in unusable.stderr


def test_a_secret_is_never_written_down(team) -> None:
    """The canary goes in through the environment, a header, a path and a body, with logging as loud as it gets."""
    environment = {**os.environ, "RAMPWISE_COLLECTOR_KEYS": f"web:{SECRET}"}
    script = Path(sys.executable).with_name("rampwise")
    command = [script, "-v", "--workspace", team, "collect", "--port", "0"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r":(\d+) \(Ctrl-C", line):
                break
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
        row = {"unit_id": "u1", "event": "purchase", "occurred_at": "2026-03-01T10:00:00Z"}
        statuses = []
        for path, body, key in (
            ("/v1/events", json.dumps([row]), SECRET),
            ("/v1/events", json.dumps([{**row, "occurred_at": SECRET}]), SECRET),
            (f"/v1/{SECRET}", "[]", SECRET),
            ("/v1/events", json.dumps([row]), f"{SECRET}{SECRET}"),
        ):
            connection.request(
                "POST", path, body, {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
            )
            answer = connection.getresponse()
            said.append(answer.read().decode())
            statuses.append(answer.status)
        connection.close()
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=30)
    assert statuses == [202, 400, 404, 401]
    assert process.returncode == 0
    assert SECRET not in "".join([*said, out, error])
    assert [path.name for path in team.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []
