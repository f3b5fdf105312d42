"""Text files line by line, whatever bytes they hold: where DuckDB's reader gives up, and for JSON lines."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa

GZIP_MAGIC = b"\x1f\x8b"
LONGEST_LINE = 4_000_000
ROWS_PER_BATCH = 50_000
BLOCK_BYTES = 1 << 18  # stays in the processor's cache
ENDS = ("\n", "\r")
BROKEN_TEXT = "the line is not valid UTF-8"
TOO_LONG = f"the line is longer than {LONGEST_LINE:,} characters; only its first 1,000 are kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: its text, the characters that end it, and why it is unusable, if it is."""

    text: str
    end: str
    problem: str | None = None

    @property
    def code(self) -> str:
        """The kind of the problem, as `rejected.code` names it."""
        return {BROKEN_TEXT: "bad_utf8", TOO_LONG: "too_long"}.get(self.problem or "", "broken_line")


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip, by its first bytes rather than its name."""
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def is_plain_file(path: Path) -> bool:
    """Whether a file holds nothing but printable ASCII and line feeds; stops soon after the first other byte."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            signs = np.frombuffer(block, np.uint8)
            controls = np.count_nonzero(signs < ord(" ")) != np.count_nonzero(signs == ord("\n"))
            if controls or not block.isascii() or b"\x7f" in block:
                return False
    return True


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A file as text; bytes that are not UTF-8 become lone surrogates, so that nothing is lost."""
    with (
        gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        yield text


def is_text(line: str) -> bool:
    """Whether a line from `open_text` was valid UTF-8."""
    return line.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in line)


def readable(line: str) -> str:
    """A line with its invalid bytes spelled out in hexadecimal."""
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def lines_of(text: TextIO) -> Iterator[Line]:
    """Each line; one that is not UTF-8 comes with its bytes spelled out, one that is too long comes cut."""
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(ENDS):
            rest = line
            while len(rest) == LONGEST_LINE and not rest.endswith(ENDS):
                rest = text.readline(LONGEST_LINE)
            yield Line(text=readable(line[:1000]), end="", problem=TOO_LONG)
            continue
        body = line.rstrip("\r\n")
        if is_text(body):
            yield Line(text=body, end=line[len(body) :])
        else:
            yield Line(text=readable(body), end=line[len(body) :], problem=BROKEN_TEXT)


def text_batches(names: Sequence[str], rows: Iterable[Sequence[str | None]]) -> pa.RecordBatchReader:
    """Rows of texts as a stream of Arrow batches, so that a file of any size fits in memory."""
    schema = pa.schema([(name, pa.string()) for name in names])

    def batches() -> Iterator[pa.RecordBatch]:
        waiting: list[Sequence[str | None]] = []
        for row in rows:
            waiting.append(row)
            if len(waiting) == ROWS_PER_BATCH:
                yield _batch(schema, waiting)
                waiting = []
        if waiting:
            yield _batch(schema, waiting)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _batch(schema: pa.Schema, rows: Sequence[Sequence[str | None]]) -> pa.RecordBatch:
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return pa.record_batch(columns, schema=schema)
