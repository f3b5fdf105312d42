from __future__ import annotations

import json
from pathlib import Path

FILES = Path(__file__).parents[2] / "pipelines" / "ingest" / "mapped_files"
EXTENDED = """\
extends = "segment"

[exposures.experiment]
names = { checkout = "signup_page" }

[exposures.variant]
names = { one_page = "three_fields" }
"""


def test_a_mixed_file_is_loaded_in_one_go_through_a_mapping_of_the_workspace(rampwise, team) -> None:
    (team / "mappings").mkdir(exist_ok=True)
    (team / "mappings" / "ours.toml").write_text(EXTENDED)
    loaded = rampwise("-w", team, "ingest", "mixed", FILES / "segment.jsonl", "--mapping", "ours")
    assert loaded.exit_code == 0
    assert loaded.stdout.splitlines() == [
        "exposures: read 1 = 1 accepted + 0 duplicates + 0 rejected",
        "events: read 3 = 2 accepted + 0 duplicates + 1 rejected",
    ]
    assert "5 rows passed over: by the mapping they are no exposures" in loaded.stderr
    assert "value is a JSON object" in loaded.stderr
    again = json.loads(
        rampwise("-w", team, "ingest", "mixed", FILES / "segment.jsonl", "-m", "ours", "--output", "json").stdout
    )
    assert [(each["table"], each["accepted"], each["files"][0]["passed_over"]) for each in again] == [
        ("exposures", 0, 5),
        ("events", 0, 3),
    ]


def test_one_table_at_a_time_and_refusals(rampwise, team) -> None:
    events = rampwise("-w", team, "ingest", "events", FILES / "ga4.jsonl", "--mapping", "ga4")
    assert events.stdout == "read 2 = 2 accepted + 0 duplicates + 0 rejected\n"
    for arguments, words in (
        (("events", FILES / "ga4.jsonl", "--mapping", "ga5"), "Did you mean 'ga4'"),
        (("events", FILES / "opentelemetry.jsonl", "--mapping", "opentelemetry"), "describes exposures only"),
        (("events", FILES / "ga4.jsonl", "--mapping", "ga4", "--column", "value=x"), "give one of them"),
    ):
        refused = rampwise("-w", team, "ingest", *arguments)
        assert refused.exit_code == 2
        assert words in " ".join(refused.stderr.replace("│", " ").split())


def test_mappings_are_listed_shown_and_validated(rampwise, team) -> None:
    (team / "mappings").mkdir(exist_ok=True)
    (team / "mappings" / "ours.toml").write_text(EXTENDED)
    lines = rampwise("-w", team, "mappings").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "NAME",
        "amplitude",
        "cloudevents",
        "ga4",
        "openfeature",
        "opentelemetry",
        "ours",
        "posthog",
        "segment",
        "snowplow",
        "statsig",
    ]
    assert "mappings/" in next(line for line in lines if line.startswith("ours"))
    shown = json.loads(rampwise("-w", team, "mappings", "ours").stdout)
    assert shown["exposures"]["experiment"]["names"] == {"checkout": "signup_page"}
    assert len(json.loads(rampwise("-w", team, "mappings", "--output", "json").stdout)) == 10
    assert rampwise("-w", team, "validate").exit_code == 0
    (team / "mappings" / "ours.toml").write_text(EXTENDED.replace("[exposures.variant]", "[exposures.varaint]"))
    wrong = rampwise("-w", team, "validate")
    assert wrong.exit_code == 2
    assert "mappings/ours.toml: exposures.varaint" in wrong.stdout
    assert "Did you mean 'variant'" in wrong.stdout
