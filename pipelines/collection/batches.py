"""A request's body as lines for a segment: the shape is checked here, values are judged by the ingestion.

Keys keep the names they have in files: a line is one JSON object that `rampwise ingest` reads as it is. Nothing is
added to a row, so that a retry of the same row is the same row.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pipelines.collection.errors import Reason, RefusedError
from pipelines.collection.limits import Limits

KINDS: Final = ("events", "exposures")
TEXTS: Final = {
    "events": ("unit_id", "event"),
    "exposures": ("experiment", "unit_id", "variant"),
}
TIMES: Final = {"events": "occurred_at", "exposures": "exposed_at"}
IDS: Final = {"events": "event_id", "exposures": "exposure_id"}
MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?"
    r"|[0-9]{10}([.][0-9]{1,6})?|[0-9]{13}|[0-9]{16}|[0-9]{19}"
)
WINDOW_BITS: Final = {b"gzip": 31, b"deflate": 15}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are ready to be written: `lines` holds one JSON object per line, `rows` of them."""

    lines: bytes
    rows: int


def inflate(body: bytes, encoding: bytes, limits: Limits) -> bytes:
    """Undo the compression of a body, never making more than `limits.inflated_bytes`.

    Raises
    ------
    RefusedError
        If the encoding is unknown, the data are damaged or incomplete, or there would be too much.
    """
    if encoding in {b"", b"identity"}:
        return body
    bits = WINDOW_BITS.get(encoding)
    if bits is None:
        raise RefusedError(Reason.UNSUPPORTED_ENCODING, "Content-Encoding must be gzip or deflate, or left out.")
    machine = zlib.decompressobj(bits)
    try:
        inflated = machine.decompress(body, limits.inflated_bytes + 1)
    except zlib.error:
        raise RefusedError(
            Reason.BROKEN_ENCODING, f"The body is not valid {encoding.decode('ascii', 'replace')}."
        ) from None
    if len(inflated) > limits.inflated_bytes:
        raise RefusedError(
            Reason.BODY_TOO_LARGE,
            f"The body has more than {limits.inflated_bytes:,} bytes once decompressed. Send smaller batches.",
        )
    if not machine.eof or machine.unused_data:
        raise RefusedError(Reason.BROKEN_ENCODING, "The compressed body is cut off, or something follows its end.")
    return inflated


def read_batch(body: bytes, kind: str, limits: Limits) -> Batch:
    """The rows of a body: a JSON array of objects, or an object that holds the array under `events` or `exposures`.

    Parameters
    ----------
    body
        UTF-8 JSON, uncompressed.
    kind
        ``"events"`` or ``"exposures"``.
    limits
        How many rows, and how large.

    Raises
    ------
    RefusedError
        If anything is wrong with any row: a batch is taken whole or not at all.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RefusedError(Reason.MALFORMED_JSON, f"The body is not JSON: {error}.") from None
    rows = content.get(kind) if type(content) is dict and len(content) == 1 else content
    if type(rows) is not list:
        raise RefusedError(
            Reason.NOT_A_BATCH, f'The body must be an array of objects, or {{"{kind}": [...]}} and nothing else.'
        )
    if not rows:
        raise RefusedError(Reason.EMPTY_BATCH, "The batch holds no rows.")
    if len(rows) > limits.rows:
        raise RefusedError(
            Reason.TOO_MANY_ROWS, f"The batch has {len(rows):,} rows; at most {limits.rows:,} are taken."
        )
    texts, time, identity, has_value = TEXTS[kind], TIMES[kind], IDS[kind], kind == "events"
    lines = []
    for place, row in enumerate(rows):
        if type(row) is not dict:
            raise _invalid(place, None, "is not an object")
        for name in texts:
            _check_text(row.get(name), name, place)
        _check_moment(row.get(time), time, place)
        if identity in row and row[identity] is not None:
            _check_text(row[identity], identity, place)
        if has_value:
            value = row.get("value")
            if value is not None and type(value) is not float and type(value) is not int:
                raise _invalid(place, "value", "must be a number or null")
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        if len(line) > limits.row_bytes:
            message = f"Row {place} has {len(line):,} bytes; at most {limits.row_bytes:,} are taken."
            raise RefusedError(Reason.ROW_TOO_LARGE, message, row=place)
        lines.append(line)
    return Batch(lines=b"".join(lines), rows=len(lines))


def _check_text(value: Any, name: str, place: int) -> None:  # noqa: ANN401 - anything that JSON can hold
    if type(value) is str:
        if value and not value.isspace():
            return
        raise _invalid(place, name, "is empty")
    if type(value) is not int:
        raise _invalid(place, name, "is missing" if value is None else "must be a text or a whole number")


def _check_moment(value: Any, name: str, place: int) -> None:  # noqa: ANN401 - anything that JSON can hold
    if value is None:
        raise _invalid(place, name, "is missing")
    if type(value) is not str and type(value) is not int and type(value) is not float:
        raise _invalid(place, name, "must be a text or a number")
    if MOMENT.fullmatch(value if type(value) is str else str(value)) is None:
        raise _invalid(
            place,
            name,
            "is not a time: write ISO 8601 such as 2026-03-01T12:00:00Z, or 10, 13, 16 or 19 digits since 1970",
        )


def _invalid(place: int, name: str | None, problem: str) -> RefusedError:
    """Row and key, but never the value: it may be personal, and messages reach logs."""
    where = f"Row {place}" if name is None else f"Row {place}: {name}"
    return RefusedError(Reason.INVALID_ROW, f"{where} {problem}. Nothing of the batch was kept.", row=place, field=name)
