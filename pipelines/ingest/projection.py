"""From a source's columns to the columns that the fixed SQL reads, built from expressions instead of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from duckdb import (
    CaseExpression,
    ColumnExpression,
    ConstantExpression,
    DuckDBPyRelation,
    Expression,
    FunctionExpression,
)

from pipelines.engine.queries import read_sql
from pipelines.ingest.contract import as_utc
from pipelines.ingest.errors import ColumnError

INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
)
TIMES = frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE"})
ZONED_TIMES = frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "TIMESTAMPTZ_NS", "TIMESTAMP_NS WITH TIME ZONE"})
FLOATS = frozenset({"DOUBLE", "FLOAT"})
MOMENTS = ("n", "mean", "variance", "denominator_mean", "denominator_variance", "covariance")
TEXTS = frozenset({"VARCHAR", "JSON", "UUID", "NULL", '"NULL"'})


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column of a source: its name there, the expression that gives it, and its DuckDB type.

    `nested` tells the rows in which it holds an object or an array, which no column of ours can take.
    """

    name: str
    value: Expression
    type: str
    nested: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSource:
    """A source that is ready to be read.

    Attributes
    ----------
    label
        The file's path, or the frame's kind.
    relation
        Its rows; `line_reason` and `line_raw` in it, if any, say that a line is broken and what it says.
    fields
        Its columns.
    has_lines
        Whether the relation has `line_reason` and `line_raw`.
    keeps_lines
        Whether `line_raw` holds every line, so that the row's text need not be made up from its columns.
    is_plain
        Whether its texts are known to hold nothing but printable ASCII and line feeds.
    """

    label: str
    relation: DuckDBPyRelation
    fields: tuple[Field, ...]
    has_lines: bool = False
    keeps_lines: bool = False
    is_plain: bool = False


def nothing(kind: str) -> Expression:
    """NULL of a type."""
    return ConstantExpression(None).cast(kind)


def source_rows(
    source: OpenSource, matched: Mapping[str, int], time: str, earliest: datetime | None, latest: datetime
) -> DuckDBPyRelation:
    """The relation the fixed SQL reads as `source_rows`: our columns beside the source's own, as `f0`, `f1`, ...

    `time` is our name of the time; `earliest` and `latest` bound it (aware).

    Raises
    ------
    ColumnError
        If a column's type cannot be what we need without a guess.
    """
    columns = {name: source.fields[place] for name, place in matched.items()}
    extra = [field for place, field in enumerate(source.fields) if place not in matched.values()]
    texts = {
        name: _text(source, name, columns[name]).alias(alias)
        for name, alias in (
            ("experiment", "experiment"),
            ("variant", "variant"),
            ("event", "event"),
            ("unit_id", "unit_text"),
            ("metric", "metric"),
            ("known_id", "unit_text"),
            ("anonymous_id", "anonymous_text"),
            ("link_id", "id_text"),
            ("event_id", "id_text"),
            ("exposure_id", "id_text"),
        )
        if name in columns
    }
    if not {"event_id", "exposure_id", "link_id"} & columns.keys():
        texts["id"] = nothing("VARCHAR").alias("id_text")
    time_typed, time_text = _time(source, time, columns[time])
    value_typed, value_text = _number(source, columns.get("value"), "value")
    moments: list[Expression] = []
    for name in MOMENTS if "metric" in columns else ():
        typed, text = _number(source, columns.get(name), name)
        moments += [typed.alias(f"{name}_typed"), text.alias(f"{name}_text")]
    reason = _line_reason(source, columns)
    raw = ColumnExpression("line_raw") if source.has_lines else nothing("VARCHAR")
    return source.relation.select(
        *(field.value.alias(f"f{place}") for place, field in enumerate(source.fields)),
        reason.alias("line_reason"),
        raw.alias("line_raw"),
        *texts.values(),
        time_typed.alias("time_typed"),
        time_text.alias("time_text"),
        value_typed.alias("value_typed"),
        value_text.alias("value_text"),
        *moments,
        _attributes(extra).alias("attributes"),
        ConstantExpression(None if earliest is None else as_utc(earliest)).cast("TIMESTAMP").alias("earliest"),
        ConstantExpression(as_utc(latest)).cast("TIMESTAMP").alias("latest"),
    )


def _line_reason(source: OpenSource, columns: Mapping[str, Field]) -> Expression:
    """Why a row is refused before its columns are looked at: a broken line, or several values where one belongs."""
    reason = ColumnExpression("line_reason") if source.has_lines else nothing("VARCHAR")
    for name, field in columns.items():
        if field.nested is not None:
            words = ConstantExpression(f"wrong_type|{name} is a JSON object or array, not a single value")
            reason = CaseExpression(reason.isnotnull(), reason).otherwise(CaseExpression(field.nested, words))
    return reason


def through_sql(rows: DuckDBPyRelation, name: str, *, reads: str) -> DuckDBPyRelation:
    """`rows`, under the name `reads`, through a SELECT of `pipelines/sql`."""
    result = rows.query(reads, read_sql(name))
    if result is None:
        raise TypeError(f"pipelines/sql/{name}.sql is no SELECT.")
    return result


def with_raw(source: OpenSource, rows: DuckDBPyRelation, names: Sequence[str]) -> DuckDBPyRelation:
    """`names` of `rows`, plus the text of each row that has a reason."""
    raw = ColumnExpression("line_raw")
    if not source.keeps_lines:
        whole = _object({field.name: ColumnExpression(f"f{place}") for place, field in enumerate(source.fields)})
        raw = CaseExpression(raw.isnotnull(), raw).otherwise(whole.cast("VARCHAR"))
    refused = CaseExpression(ColumnExpression("reason").isnotnull(), raw)
    return rows.select(*(ColumnExpression(name) for name in names), refused.alias("raw"))


def _object(members: Mapping[str, Expression]) -> Expression:
    parts = [part for name in sorted(members) for part in (ConstantExpression(name), members[name])]
    return FunctionExpression("json_object", *parts)


def _attributes(extra: Sequence[Field]) -> Expression:
    """The other columns as one JSON object in order of their names, without the empty ones; NULL where all are."""
    if not extra:
        return nothing("VARCHAR")
    whole = _object({field.name: field.value for field in extra})
    filled = FunctionExpression("json_merge_patch", ConstantExpression("{}"), whole).cast("VARCHAR")
    return FunctionExpression("nullif", filled, ConstantExpression("{}"))


def _text(source: OpenSource, name: str, field: Field) -> Expression:
    whole_number = field.type in INTEGERS or (field.type.startswith("DECIMAL") and field.type.endswith(",0)"))
    if field.type == "VARCHAR":
        return field.value
    if whole_number or field.type in TEXTS or field.type.startswith("ENUM"):
        return field.value.cast("VARCHAR")
    if field.type in FLOATS:
        problem = f"column {field.name} ({name}) holds floating-point numbers, which spell an id as 42.0 instead of 42."
    else:
        problem = f"column {field.name} ({name}) is of type {field.type}, which is not a text."
    raise ColumnError(source.label, name, problem, "Convert the column to text or whole numbers.")


def _time(source: OpenSource, name: str, field: Field) -> tuple[Expression, Expression]:
    if field.type in TIMES:
        return field.value.cast("TIMESTAMP"), nothing("VARCHAR")
    if field.type in ZONED_TIMES:
        moment = field.value.cast("TIMESTAMP WITH TIME ZONE")
        return FunctionExpression("make_timestamp", FunctionExpression("epoch_us", moment)), nothing("VARCHAR")
    if field.type == "VARCHAR" or field.type in TEXTS | INTEGERS or field.type.startswith("ENUM"):
        text = field.value if field.type == "VARCHAR" else field.value.cast("VARCHAR")
        return nothing("TIMESTAMP"), text
    raise ColumnError(
        source.label,
        name,
        f"column {field.name} ({name}) is of type {field.type}, which is not a time.",
        "Convert the column to timestamps, to ISO 8601 text, or to whole seconds or milliseconds since 1970.",
    )


def _number(source: OpenSource, field: Field | None, name: str) -> tuple[Expression, Expression]:
    if field is None:
        return nothing("DOUBLE"), nothing("VARCHAR")
    if field.type in FLOATS | INTEGERS or field.type == "BOOLEAN" or field.type.startswith("DECIMAL"):
        return field.value.cast("DOUBLE"), nothing("VARCHAR")
    if field.type == "VARCHAR" or field.type in TEXTS or field.type.startswith("ENUM"):
        return nothing("DOUBLE"), field.value if field.type == "VARCHAR" else field.value.cast("VARCHAR")
    raise ColumnError(
        source.label,
        name,
        f"column {field.name} ({name}) is of type {field.type}, which is not a number.",
        "Convert the column to numbers.",
    )
