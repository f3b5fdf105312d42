"""Rows of other systems through a mapping: each row becomes one JSON object, and every column of ours is found in it.

A row is an exposure if `[exposures]` selects it, else an event if `[events]` does, else it is passed over and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from duckdb import (
    CaseExpression,
    CoalesceOperator,
    ColumnExpression,
    ConstantExpression,
    DuckDBPyRelation,
    Expression,
    FunctionExpression,
)

from pipelines.definitions.mappings.mapping import (
    EVENT_FIELDS,
    EXPOSURE_FIELDS,
    WHOLE_ROW,
    Condition,
    EventSection,
    ExposureSection,
    Place,
    TimePlace,
)
from pipelines.definitions.mappings.mapping import Mapping as Definition
from pipelines.definitions.mappings.paths import Every, Lookup, Name, Path, read_path
from pipelines.definitions.mappings.paths import Place as Position
from pipelines.ingest.columns import Column
from pipelines.ingest.errors import MappingSectionError
from pipelines.ingest.projection import Field, OpenSource, nothing
from pipelines.ingest.variants import UNKNOWN

PASSED_OVER = "passed over"
SINGLE = frozenset({"unit_id", "event", "event_id", "exposure_id", "experiment", "variant", "value"})
Section = ExposureSection | EventSection


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one table's rows are found: a mapping's section of it, and what takes rows away from it."""

    section: Section
    fields: tuple[str, ...]
    taken: ExposureSection | None
    """Exposures, which are no events; None where they are elements of the row rather than the row."""


def reading_of(definition: Definition, table: str) -> Reading:
    """A mapping's section of ``"exposures"`` or ``"events"``.

    Raises
    ------
    MappingSectionError
        If it has none.
    """
    section: Section | None = definition.exposures if table == "exposures" else definition.events
    if section is None:
        raise MappingSectionError(definition.name, table)
    taken = definition.exposures if table == "events" else None
    same = taken is not None and taken.each == section.each and taken.when
    return Reading(
        section=section,
        fields=EXPOSURE_FIELDS if table == "exposures" else EVENT_FIELDS,
        taken=taken if same else None,
    )


def roots(definition: Definition) -> tuple[Column, ...]:
    """The columns a mapping looks at, for telling how a CSV file is delimited."""
    sections = [section for section in (definition.exposures, definition.events) if section is not None]
    names = [read_path(path).root for section in sections for path in section.paths()]
    return tuple(Column(name=name) for name in dict.fromkeys(names) if name is not None)


def through_mapping(source: OpenSource, reading: Reading) -> OpenSource:
    """The source with our columns and the mapping's attributes; `line_reason` marks rows that are passed over."""
    rows = _with_items(_objects(source), reading.section.each)
    selected = _selected(reading.section)
    if reading.taken is not None:
        selected = selected & ~_selected(reading.taken)
    reason = CaseExpression(ColumnExpression("line_reason").isnotnull(), ColumnExpression("line_reason"))
    reason = reason.when(~selected, ConstantExpression(PASSED_OVER))
    fields = [_field(name, place) for name in reading.fields if (place := getattr(reading.section, name)) is not None]
    fields += [
        Field(name=name, value=_first([_found(path) for path in paths]), type="JSON")
        for name, paths in reading.section.attributes.items()
    ]
    relation = rows.select(
        reason.alias("line_reason"), ColumnExpression("line_raw"), ColumnExpression("object"), ColumnExpression("item")
    )
    return OpenSource(label=source.label, relation=relation, fields=tuple(fields), has_lines=True, keeps_lines=True)


def without_passed_over(chunk: pa.Table, reading: Reading, known: Mapping[str, frozenset[str]]) -> tuple[pa.Table, int]:
    """The chunk without rows that the mapping passes over, and how many those were."""
    leave = pc.fill_null(pc.equal(chunk["reason"], PASSED_OVER), fill_value=False)
    if isinstance(reading.section, ExposureSection) and reading.section.only_defined:
        unknown = pc.fill_null(pc.equal(chunk["reason"], UNKNOWN), fill_value=False)
        defined = pc.is_in(chunk["experiment"], value_set=pa.array(list(known), pa.string()))
        leave = pc.or_(leave, pc.and_not(unknown, defined))
    kept = chunk.filter(pc.invert(leave))
    return kept, len(chunk) - len(kept)


def _objects(source: OpenSource) -> DuckDBPyRelation:
    """Rows as `line_reason`, `line_raw` and `object`."""
    if source.keeps_lines:
        return source.relation
    parts = [part for field in source.fields for part in (ConstantExpression(field.name), _unpacked(field))]
    whole = FunctionExpression("json_object", *parts)
    if not source.has_lines:
        return source.relation.select(
            nothing("VARCHAR").alias("line_reason"), whole.cast("VARCHAR").alias("line_raw"), whole.alias("object")
        )
    broken = ColumnExpression("line_reason").isnotnull()
    return source.relation.select(
        ColumnExpression("line_reason"),
        CaseExpression(broken, ColumnExpression("line_raw")).otherwise(whole.cast("VARCHAR")).alias("line_raw"),
        CaseExpression(~broken, whole).alias("object"),
    )


def _unpacked(field: Field) -> Expression:
    return FunctionExpression("unpacked", field.value) if field.type == "VARCHAR" else field.value


def _with_items(rows: DuckDBPyRelation, each: Sequence[str] | None) -> DuckDBPyRelation:
    """Rows with `item`: one row per element of the arrays, or one without an item where there is none."""
    own = [ColumnExpression(name) for name in ("line_reason", "line_raw", "object")]
    if each is None:
        return rows.select(*own, nothing("JSON").alias("item"))
    whole = ColumnExpression("object")
    lists = [
        FunctionExpression("list_value", whole)
        if path == WHOLE_ROW
        else FunctionExpression("json_extract", whole, ConstantExpression(_json_path(read_path(path, every=True))))
        for path in each
    ]
    lists = [
        found if "[*]" in path or path == WHOLE_ROW else FunctionExpression("list_value", found)
        for path, found in zip(each, lists, strict=True)
    ]
    items = reduce(lambda left, right: FunctionExpression("list_concat", left, right), lists)
    empty = CoalesceOperator(FunctionExpression("len", items), ConstantExpression(0)) == ConstantExpression(0)
    filled = CaseExpression(empty, FunctionExpression("list_value", nothing("JSON"))).otherwise(items)
    return rows.select(*own, FunctionExpression("unnest", filled).alias("item"))


def _json_path(path: Path) -> str:
    """The path in DuckDB's own notation, every name in quotes."""
    parts = []
    for step in path.steps:
        if isinstance(step, Name):
            parts.append(f'."{step.name}"')
        elif isinstance(step, Every):
            parts.append("[*]")
        elif isinstance(step, Position):
            parts.append(f"[{step.place}]")
    return "$" + "".join(parts)


def _selected(section: Section) -> Expression:
    """Whether a row, or an element of it, belongs to a section."""
    tests = [_passes(condition) for condition in section.when]
    if section.each is not None:
        tests.append(ColumnExpression("item").isnotnull())
    return reduce(lambda left, right: left & right, tests, ConstantExpression(value=True))


def _passes(condition: Condition) -> Expression:
    text = _first_text(condition.path)
    if condition.present is not None:
        there = _first([_found(path) for path in condition.path])
        there = FunctionExpression("nullif", FunctionExpression("json_type", there), ConstantExpression("NULL"))
        return there.isnotnull() if condition.present else there.isnull()
    listed = condition.equals if condition.equals is not None else condition.unlike or ()
    among = CoalesceOperator(text.isin(*(ConstantExpression(each) for each in listed)), ConstantExpression(value=False))
    return among if condition.equals is not None else ~among


def _field(name: str, place: Place) -> Field:
    """One of our columns, as text."""
    if place.path is None:
        return Field(name=name, value=ConstantExpression(place.constant).cast("VARCHAR"), type="VARCHAR")
    text = _first_text(place.path)
    if place.pattern is not None:
        group = FunctionExpression("regexp_extract", text, ConstantExpression(place.pattern), ConstantExpression(1))
        text = FunctionExpression("nullif", group, ConstantExpression(""))
    if isinstance(place, TimePlace) and place.unit is not None:
        text = FunctionExpression("epoch_text", text, ConstantExpression(place.unit))
    if place.names:
        theirs, *others = place.names.items()
        renamed = CaseExpression(text == ConstantExpression(theirs[0]), ConstantExpression(theirs[1]))
        for old, new in others:
            renamed = renamed.when(text == ConstantExpression(old), ConstantExpression(new))
        text = renamed.otherwise(text)
    nested = None
    if name in SINGLE:
        nested = FunctionExpression("is_nested", _first([_found(path) for path in place.path]))
    return Field(name=name, value=text, type="VARCHAR", nested=nested)


def _first_text(paths: Iterable[str]) -> Expression:
    return _first([FunctionExpression("filled_text", _found(path)) for path in paths])


def _first(found: Sequence[Expression]) -> Expression:
    return found[0] if len(found) == 1 else CoalesceOperator(*found)


def _found(text: str) -> Expression:
    """The JSON at a path; runs of names and positions are one look-up."""
    path = read_path(text)
    found: Expression = ColumnExpression("item" if path.of_item else "object")
    pointer = ""
    for step in path.steps:
        if isinstance(step, Name):
            pointer += "/" + step.name.replace("~", "~0").replace("/", "~1")
        elif isinstance(step, Position):
            pointer += f"/{step.place}"
        elif isinstance(step, Lookup):
            found, pointer = _at(found, pointer), ""
            key = ConstantExpression("/" + step.key.replace("~", "~0").replace("/", "~1"))
            found = FunctionExpression("element_where", found, key, ConstantExpression(step.wanted))
    return _at(found, pointer)


def _at(found: Expression, pointer: str) -> Expression:
    return FunctionExpression("json_extract", found, ConstantExpression(pointer)) if pointer else found
