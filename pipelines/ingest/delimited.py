"""CSV and its relatives: the header is read by us and the columns go by name, always as text.

A file that follows RFC 4180 is read by DuckDB. Where it does not, DuckDB's reader stops at the first mistake, so the
file is read once more, line by line: what can be read is, and each broken line is refused with its reason.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from duckdb import ColumnExpression, DuckDBPyConnection

from pipelines.ingest.columns import Column
from pipelines.ingest.errors import EmptySourceError, UnreadableSourceError
from pipelines.ingest.lines import Line, is_gzip, is_plain_file, lines_of, open_text, text_batches
from pipelines.ingest.projection import Field, OpenSource

DELIMITERS = (",", ";", "\t", "|")
OPEN_QUOTE = "unexpected end of data"
LONGEST_RECORD = 200
"""Lines that one quoted value may span before its quote counts as never closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line: its names, what separates them, and how many lines come before the first row."""

    names: tuple[str, ...]
    delimiter: str
    blank_lines: int


def read_header(path: Path, wanted: Sequence[Column]) -> Header:
    """The header of a file, split by the delimiter under which most of our columns appear.

    Raises
    ------
    EmptySourceError, UnreadableSourceError
        If there is no header, or it is not UTF-8.
    """
    label = str(path)
    ours = {name for column in wanted for name in (column.name, *column.aliases)}
    with open_text(path) as text:
        blank = 0
        for line in lines_of(text):
            problem = "it holds zero bytes" if "\0" in line.text else line.problem
            if problem is not None:
                raise UnreadableSourceError(label, f"its header cannot be read: {problem}.", "Save the file as UTF-8.")
            if line.text.strip():
                break
            blank += 1
        else:
            raise EmptySourceError(label)
    candidates, broken = [], False
    for delimiter in DELIMITERS:
        fields, problem = split(line.text, delimiter)
        broken = broken or problem is not None
        known = sum(name.strip().casefold() in ours for name in fields)
        candidates.append((known, len(fields), Header(names=tuple(fields), delimiter=delimiter, blank_lines=blank)))
    known, _, header = max(candidates, key=lambda candidate: candidate[:2])
    if broken and not known:
        raise UnreadableSourceError(label, "its header has a quote that never closes.", "Mend the first line.")
    return header


def split(record: str, delimiter: str) -> tuple[list[str], str | None]:
    """The fields of one record, or why it has none."""
    try:
        return next(csv.reader([record], delimiter=delimiter, strict=True), []), None
    except csv.Error as error:
        return [], str(error)


def open_strictly(cursor: DuckDBPyConnection, path: Path, header: Header) -> OpenSource:
    """The file through DuckDB's reader, which raises at the first row that breaks the rules."""
    relation = cursor.read_csv(
        str(path),
        header=True,
        auto_detect=False,
        columns={f"c{place}": "VARCHAR" for place in range(len(header.names))},
        sep=header.delimiter,
        quotechar='"',
        escapechar='"',
        skiprows=header.blank_lines,
        compression="gzip" if is_gzip(path) else "none",
    )
    return OpenSource(label=str(path), relation=relation, fields=_fields(header), is_plain=is_plain_file(path))


def open_line_by_line(cursor: DuckDBPyConnection, path: Path, header: Header) -> OpenSource:
    """The file through our own reader, which refuses broken lines one by one and goes on."""
    names = ["line_reason", "line_raw", *(f"c{place}" for place in range(len(header.names)))]
    relation = cursor.from_arrow(text_batches(names, records(path, header)))
    return OpenSource(label=str(path), relation=relation, fields=_fields(header), has_lines=True)


def _fields(header: Header) -> tuple[Field, ...]:
    return tuple(
        Field(name=name.strip(), value=ColumnExpression(f"c{place}"), type="VARCHAR")
        for place, name in enumerate(header.names)
    )


def records(path: Path, header: Header) -> Iterator[tuple[str | None, ...]]:
    """Reason, text and fields of each record; a record with a reason has no fields, one without has no text."""
    width = len(header.names)
    with open_text(path) as text:
        lines = _Lines(lines_of(text))
        for _ in range(header.blank_lines + 1):
            lines.take()
        while (line := lines.take()) is not None:
            if not line.text and line.problem is None:
                continue
            number = lines.number
            fields, problem = ([], line.problem) if line.problem is not None else _record(line, lines, header)
            if problem is None:
                yield (None, None, *(field or None for field in fields))
            else:
                yield (f"{line.code}|line {number}: {problem}", line.text, *[None] * width)


def _record(line: Line, lines: _Lines, header: Header) -> tuple[list[str], str | None]:
    """The fields of the record that starts with `line`, taking further lines where a quoted value spans them."""
    width = len(header.names)
    record, more = line.text + line.end, 0
    fields, problem = split(record, header.delimiter)
    while problem == OPEN_QUOTE and more < LONGEST_RECORD:
        following = lines.peek(more)
        if following is None or following.problem is not None:
            break
        record, more = record + following.text + following.end, more + 1
        if '"' in following.text:
            fields, problem = split(record, header.delimiter)
    if problem is not None:
        return [], f"a quote is broken or never closes ({problem})" if '"' in line.text else problem
    while len(fields) > width and not fields[-1]:
        fields.pop()
    if len(fields) != width:
        return [], f"the line has {len(fields)} fields, the header has {width}"
    lines.skip(more)
    return fields, None


class _Lines:
    """Lines that can be looked at before they are taken."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._ahead: list[Line] = []
        self.number = 0

    def take(self) -> Line | None:
        """The next line; None at the end."""
        found = self.peek(0)
        self.skip(1)
        return found

    def peek(self, distance: int) -> Line | None:
        """The line `distance` lines ahead; None past the end."""
        while len(self._ahead) <= distance:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[distance]

    def skip(self, count: int) -> None:
        """Pass over lines that were looked at."""
        del self._ahead[:count]
        self.number += count
