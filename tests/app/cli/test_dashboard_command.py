"""`rampwise dashboard` becomes Streamlit's process, on loopback only."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("rampwise")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def healthy(port: int, process: subprocess.Popen[str], *, seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
                return answer.read() == b"ok"
        except OSError:
            time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_the_process_becomes_streamlit_in_any_folder_and_ends_with_a_signal(team, tmp_path):
    port = free_port()
    for name in ("click.py", "stats.py", "pipelines.py", "app.py"):  # a product's own code, of the same names
        (tmp_path / name).write_text("raise SystemExit('the visitor's code was run')\n", encoding="utf-8")
    process = subprocess.Popen(
        [SCRIPT, "--workspace", team, "dashboard", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(team)},
    )
    try:
        assert healthy(port, process), process.communicate(timeout=10)
        command = Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8").split("\0")
        assert command[1:5] == ["-P", "-m", "streamlit", "run"]
        assert "--server.address=127.0.0.1" in command
        assert "--browser.gatherUsageStats=false" in command
        assert "--client.showErrorDetails=none" in command
        listening = {line.split()[1] for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]}
        assert f"0100007F:{port:04X}" in listening
        assert f"00000000:{port:04X}" not in listening
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert f"http://127.0.0.1:{port}" in errors


def test_a_port_in_use_is_said_before_anything_starts(rampwise, team):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = rampwise("-w", team, "dashboard", "--port", str(port))
    assert result.exit_code == 1
    assert f"port {port} is in use" in result.stderr
