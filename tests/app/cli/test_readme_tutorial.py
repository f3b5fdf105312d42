"""The README's five minutes, typed as they stand there, lead to the decision they promise."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[3] / "README.md"
BINARIES = Path(sys.executable).parent


def blocks() -> list[tuple[str, str]]:
    """Language and content of every code block of the tutorial."""
    section = README.read_text(encoding="utf-8").split("\n## Your first experiment")[1].split("\n## ")[0]
    return re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)


@pytest.mark.slow
def test_the_tutorial_leads_from_nothing_to_a_decision(tmp_path):
    code = "set -euo pipefail\n"
    for language, content in blocks():
        if language == "python":
            code += f"cat > make_data.py <<'PROGRAM'\n{content}PROGRAM\n"
        elif language == "bash":
            code += content
    code += "rampwise results signup_page --output json > results.json\n"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAMPWISE_")}
    done = subprocess.run(
        ["bash", "-c", code],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**variables, "PATH": f"{BINARIES}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    team = tmp_path / "my-team"
    results = json.loads((team / "results.json").read_text(encoding="utf-8"))
    assert (results["exposed"], results["phase"]) == (20_000, "ended")
    assert results["decision"]["decision"] == "ship"
    assert results["decision"]["treatment"] == "three_fields"
    assert "No mistakes: 4 metrics, 1 experiment, 4 reports." in done.stdout
    assert "20,000 accepted + 0 duplicates + 0 rejected" in done.stdout
    report = (team / "outbox" / "signup_page.html").read_text(encoding="utf-8")
    assert results["decision"]["headline"] in done.stdout
    assert "Shorter sign-up page" in report


FRAMES = """\
import pandas as pd

times = pd.to_datetime(["2025-03-04T10:00:00Z"] * 2)
exposures_frame = pd.DataFrame(
    {"experiment": "signup_page", "unit_id": ["x1", "x2"], "variant": "three_fields", "exposed_at": times}
)
events_frame = pd.DataFrame({"unit_id": ["x1", "x1"], "event": "signup", "occurred_at": times})
"""


def test_the_python_example_loads_frames(rampwise, tmp_path):
    assert rampwise("init", tmp_path / "my-team").exit_code == 0
    example = (
        README.read_text(encoding="utf-8").split("\nThe same from Python")[1].split("```python\n")[1].split("```")[0]
    )
    done = subprocess.run(
        [sys.executable, "-c", FRAMES + example], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "read 2 = 2 accepted + 0 duplicates + 0 rejected",
        "read 2 = 1 accepted + 1 duplicates + 0 rejected",
    ]


def test_the_tutorial_ends_with_the_dashboard():
    assert blocks()[-1] == ("console", "$ rampwise dashboard\n")
