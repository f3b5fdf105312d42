"""Channels of a report: what may be written, and what is said where it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config import create_workspace
from pipelines.definitions.loader import find_problems, load_definitions

CHANNELS = """
cron = "0 8 * * MON"
[[deliver]]
kind = "mail"
to = ["pm@example.org", "po@example.org"]
[[deliver]]
kind = "webhook"
name = "team"
[[deliver]]
kind = "chat"
name = "growth"
[[deliver]]
kind = "mail"
to = ["pm@example.org"]
"""

NAMES = "must start with a lower-case letter and hold only a-z, 0-9 and _ (at most 64 characters)"


def lines(folder: Path, report: str, settings: str = "") -> list[str]:
    workspace = create_workspace(folder)
    (workspace.reports_dir / "weekly.toml").write_text(report, encoding="utf-8")
    if settings:
        workspace.settings_path.write_text(settings, encoding="utf-8")
    return [problem.line() for problem in find_problems(workspace.root)]


def test_every_recipient_is_one_destination_however_often_it_is_named(tmp_path: Path) -> None:
    from pipelines.definitions.channels import destinations

    assert lines(tmp_path, CHANNELS) == []
    report = load_definitions(tmp_path).reports["weekly"]
    assert destinations(report.deliver) == (
        "mail:pm@example.org",
        "mail:po@example.org",
        "webhook:team",
        "chat:growth",
    )


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ('kind = "mali"', ".kind = \"mali\": must be mail or webhook or chat. Did you mean 'mail'?"),
        ('name = "x"', ".kind: is missing; it is mail or webhook or chat."),
        ('kind = "mail"\ntoo = ["a@b.org"]', ".too = [\"a@b.org\"]: is not a known key. Did you mean 'to'?"),
        ('kind = "chat"\nnam = "x"', ".nam = \"x\": is not a known key. Did you mean 'name'?"),
        ('kind = "webhook"', ".name: is missing (What the variables call it)."),
        (
            'kind = "mail"\nto = ["a b@c.org"]',
            '.to[0] = "a b@c.org": is not a mail address such as "team@example.org".',
        ),
        ('kind = "mail"\nto = []', ".to = []: must have at least 1 entries, found 0."),
        ('kind = "chat"\nname = "Growth Team"', f".name = \"Growth Team\": {NAMES}. Did you mean 'growth_team'?"),
    ],
)
def test_a_mistake_is_named_where_it_was_written(tmp_path: Path, channel: str, said: str) -> None:
    found = lines(tmp_path, f'cron = "0 8 * * MON"\n[[deliver]]\n{channel}\n')
    assert found == [f"reports/weekly.toml: deliver[0]{said}"]


def test_a_password_in_the_settings_is_refused_and_not_repeated(tmp_path: Path) -> None:
    server = 'mail = { host = "smtp.example.org", sender = "r@example.org", password = "canary-31aa" }\n'
    (found,) = lines(tmp_path, CHANNELS, server)
    assert found.startswith("rampwise.toml: mail.password = [secret]: is not a setting")
    assert "canary-31aa" not in found
