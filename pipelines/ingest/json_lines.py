"""JSON lines: one object per line; every key of any line is a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from duckdb import CaseExpression, ColumnExpression, ConstantExpression, DuckDBPyConnection, FunctionExpression

from pipelines.ingest.columns import Column
from pipelines.ingest.errors import EmptySourceError, UnreadableSourceError
from pipelines.ingest.lines import lines_of, open_text, text_batches
from pipelines.ingest.projection import Field, OpenSource, through_sql


def open_json_lines(cursor: DuckDBPyConnection, path: Path, wanted: Sequence[Column]) -> OpenSource:
    """The objects of a file; lines that are none carry the reason.

    Raises
    ------
    EmptySourceError, UnreadableSourceError
        If there is no line, or the file is one JSON array.
    """
    label = str(path)
    _check_first_line(path)
    found = cursor.from_arrow(text_batches(("line_reason", "line"), _lines(path)))
    keys = through_sql(found, "json_lines", reads="text_lines").select(
        FunctionExpression("unnest", FunctionExpression("json_keys", ColumnExpression("object"))).alias("key")
    )
    names = sorted(str(row[0]) for row in keys.distinct().fetchall())
    ours = {name for column in wanted for name in (column.name, *column.aliases)}
    relation = cursor.from_arrow(text_batches(("line_reason", "line"), _lines(path)))
    return OpenSource(
        label=label,
        relation=through_sql(relation, "json_lines", reads="text_lines"),
        fields=tuple(_field(name, as_text=name.strip().casefold() in ours) for name in names),
        has_lines=True,
        keeps_lines=True,
    )


def open_objects(cursor: DuckDBPyConnection, path: Path) -> OpenSource:
    """The objects of a file as they are, in `object`, for a mapping to look into; no column of its own is named.

    Raises
    ------
    EmptySourceError, UnreadableSourceError
        As `open_json_lines`.
    """
    _check_first_line(path)
    relation = cursor.from_arrow(text_batches(("line_reason", "line"), _lines(path)))
    objects = through_sql(relation, "json_lines", reads="text_lines")
    return OpenSource(label=str(path), relation=objects, fields=(), has_lines=True, keeps_lines=True)


def _check_first_line(path: Path) -> None:
    label = str(path)
    with open_text(path) as text:
        first = next((line.text for line in lines_of(text) if line.text.strip()), None)
    if first is None:
        raise EmptySourceError(label)
    if first.lstrip().startswith("["):
        raise UnreadableSourceError(
            label, "it is one JSON array, not JSON lines.", "Write one object per line, for example with jq -c '.[]'."
        )


def _lines(path: Path) -> Iterator[tuple[str | None, str]]:
    with open_text(path) as text:
        for number, line in enumerate(lines_of(text), start=1):
            if line.problem is not None:
                yield f"{line.code}|line {number}: {line.problem}", line.text
            elif line.text.strip():
                yield None, line.text


def _field(name: str, *, as_text: bool) -> Field:
    """A member of the object: one of our columns as text, any other as JSON."""
    pointer = ConstantExpression("/" + name.replace("~", "~0").replace("/", "~1"))
    whole = ColumnExpression("object")
    kind = FunctionExpression("json_type", whole, pointer)
    nested = kind.isin(ConstantExpression("OBJECT"), ConstantExpression("ARRAY"))
    if not as_text:
        return Field(name=name, value=FunctionExpression("json_extract", whole, pointer), type="JSON", nested=nested)
    text = FunctionExpression("json_extract_string", whole, pointer)
    return Field(name=name, value=CaseExpression(~nested, text), type="VARCHAR", nested=nested)
