"""Every command that prints, on a workspace of the corpus: nothing moves a terminal, forges a line or breaks JSON."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import armed, raw
from hostile_workspace import NOW, Hostile
from reading import forged_lines

from app.commands.session import columns, emit, emit_csv, emit_json, emit_json_text, emit_text, say, say_text
from app.logs import Lines
from pipelines.formatting import in_one_line
from pipelines.reports.spreadsheet import FORMULA_STARTS

JSON = ("--output", "json")


def commands(made: Hostile, number: int) -> Iterator[tuple[str, ...]]:
    """What prints, and changes nothing that the next one would miss."""
    e, r = f"e{number}", f"r{number}"
    for words in (
        ("validate",), ("results", e), ("decisions",), ("decisions", e), ("plan", e), ("doctor",), ("fsck",),
        ("data", "quality"), ("overview", "manager"), ("overview", "owner"), ("rollout", "status"),
        ("rollout", "status", r), ("rollout", "history", r), ("rollout", "explain", r), ("rollout", "validate"),
        ("flags", "diff"), ("flags", "stale", "--days", "0"), ("gate", r), ("deploy", "list", "r0"),
        ("audit", "list"), ("audit", "verify"), ("report", "deliveries"), ("mappings",), ("ingest", "--inbox"),
        ("analyze", e, "--as-of", NOW.isoformat()), ("rollout", "tick", r), ("flags", "publish"),
    ):  # fmt: skip
        yield words
        yield (*words, *JSON)
    yield ("results", e, "--output", "csv")
    yield ("flags", "compile")
    yield ("report", "render", e)
    yield ("export", "notebook", e)


def check(made: Hostile, words: tuple[str, ...]) -> str:
    done = made.run(*words)
    assert raw(done.stdout.replace("\r\n", "\n")) == set(), words
    assert raw(done.stderr) == set(), words
    assert forged_lines(done.output) == [], words
    assert done.exit_code in {0, 2, 3, 4, 5} if words[0] in {"gate", "plan"} else done.exit_code == 0, done.output
    if (words[-2:] == JSON or words == ("flags", "compile")) and done.exit_code != 2:
        json.loads(done.stdout)
    return done.stdout


QUICK = {"results", "decisions", "data", "rollout", "gate"}


def test_commands_print_the_corpus_as_text(hostile: Hostile) -> None:
    for words in commands(hostile, 25):
        if words[0] in QUICK and (words[-2:] != JSON or words[0] == "results"):
            check(hostile, words)
    printed = check(hostile, ("deploy", "list", "r0"))
    assert [text for text in hostile.texts if in_one_line(text) not in printed] == []
    marks = json.loads(check(hostile, ("deploy", "list", "r0", *JSON)))["marks"]
    assert {each["version"] for each in marks} == set(hostile.texts)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("number", range(0, 43, 6))
def test_every_command_prints_every_text_as_text(number: int, whole: Hostile) -> None:
    for words in commands(whole, number):
        check(whole, words)
    title = json.loads(check(whole, ("results", f"e{number}", *JSON)))["title"]
    assert title == whole.texts[(number + 5 * 6) % 43] or title in whole.texts
    assert in_one_line(title) in check(whole, ("results", f"e{number}"))


def test_csv_on_a_terminal_holds_no_formula_and_no_letter_that_moves_it(hostile: Hostile) -> None:
    printed = check(hostile, ("results", "e25", "--output", "csv"))
    rows = list(csv.reader(io.StringIO(printed, newline="")))
    assert len(rows) > 1
    texts = [cell for row in rows for cell in row if not _is_number(cell)]
    assert [cell for cell in texts if cell[:1] in FORMULA_STARTS] == []


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("speak", [say, say_text, emit, emit_text, emit_csv, emit_json, emit_json_text])
def test_whatever_speaks_to_a_terminal_lets_no_text_move_it(
    speak: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for text in armed(tmp_path):
        given = json.dumps(text, ensure_ascii=False) if speak is emit_json_text else text
        speak(given)  # type: ignore[operator]
        said = "".join(capsys.readouterr())
        line_ends = {say_text: {"\t"}, emit_text: {"\t"}, emit_csv: {"\r"} if "\r\n" in text else set()}
        assert raw(said) <= line_ends.get(speak, set()), text  # type: ignore[call-overload]
        if speak in {say, emit}:
            assert said.count("\n") == 1
        if speak in {emit_json, emit_json_text}:
            assert json.loads(said) == text


def test_a_cell_of_a_table_is_in_one_line(tmp_path: Path) -> None:
    texts = armed(tmp_path)
    lines = columns([[text, "x"] for text in texts]).split("\n")
    assert [line[:-1].rstrip() for line in lines] == [in_one_line(text).rstrip() for text in texts]


def test_ordinary_texts_of_all_scripts_are_printed_as_they_are() -> None:
    for text in ("Zürich – 3 €", "結帳 流程", "שלום עולם", "مرحبا بالعالم", "நன்றி", "prix : 3", "①²😀"):
        assert in_one_line(text) == text


def test_a_log_record_is_one_line_and_moves_no_terminal(tmp_path: Path) -> None:
    lines = Lines("%(levelname)s %(name)s: %(message)s")
    for text in armed(tmp_path):
        told = lines.format(logging.LogRecord("part", logging.INFO, "", 1, "%s", (text,), None))
        assert "\n" not in told
        assert raw(told) == set()
    try:
        raise ValueError("\x1b[2J\u202e")
    except ValueError:
        record = logging.LogRecord("part", logging.ERROR, "", 1, "failed", (), sys.exc_info())
    told = lines.format(record)
    assert told.startswith("ERROR part: failed\nTraceback")
    assert raw(told) == set()


@pytest.mark.parametrize("name", [b"a\nError: forged line.csv", b"\xff\x1b[2J.csv", "\u202evsc.exe".encode()])
def test_names_of_files_are_told_in_one_line_of_readable_letters(name: bytes, hostile: Hostile, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(name)
    for content in (b"", b"nothing,of,use\n1,2,3\n", b"\xff\xfe\xfd"):
        file.write_bytes(content)
        done = hostile.run("ingest", "events", "--", file)
        assert done.exit_code == 1
        assert raw(done.output) == set()
        assert forged_lines(done.output) == []
