"""Rows of other systems through a mapping: each row becomes one JSON object, and every column of ours is found in it.

A row is an exposure if `[exposures]` selects it, else an event if `[events]` does, else it is passed over and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from pipelines.definitions.mappings.paths import Every, Lookup, Name, Path, Step, read_path
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
    finder = _Finder(reading)
    rows = finder.looked_up(_with_items(_objects(source), reading.section.each))
    selected = finder.selected(reading.section)
    if reading.taken is not None:
        selected = selected & ~finder.selected(reading.taken)
    reason = CaseExpression(ColumnExpression("line_reason").isnotnull(), ColumnExpression("line_reason"))
    reason = reason.when(~selected, ConstantExpression(PASSED_OVER))
    places = {name: getattr(reading.section, name) for name in reading.fields}
    fields = [finder.field(name, place) for name, place in places.items() if place is not None]
    fields += [
        Field(name=name, value=finder.first(paths), type="JSON") for name, paths in reading.section.attributes.items()
    ]
    relation = rows.select(
        reason.alias("line_reason"), *(ColumnExpression(name) for name in ("line_raw", *finder.columns))
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


class _Finder:
    """Finds values in rows that were looked through once for everything: parsing a row is what takes the time."""

    columns = ("in_object", "in_item")

    def __init__(self, reading: Reading) -> None:
        sections = [section for section in (reading.section, reading.taken) if section is not None]
        self._heads: tuple[list[str], list[str]] = ([], [])
        for path in (read_path(text) for section in sections for text in section.paths()):
            pointer, heads = _head(path)[0], self._heads[path.of_item]
            if pointer not in heads:
                heads.append(pointer)

    def looked_up(self, rows: DuckDBPyRelation) -> DuckDBPyRelation:
        """Rows with `in_object` and `in_item`: what each of them holds at every pointer that is asked for."""
        found = [
            FunctionExpression("json_extract", ColumnExpression(name), ConstantExpression(heads))
            if heads
            else nothing("JSON[]")
            for name, heads in zip(("object", "item"), self._heads, strict=True)
        ]
        aliased = [each.alias(name) for each, name in zip(found, self.columns, strict=True)]
        return rows.select(
            ColumnExpression("line_reason"),
            ColumnExpression("line_raw"),
            ColumnExpression("item").isnotnull().alias("has_item"),
            *aliased,
        )

    def selected(self, section: Section) -> Expression:
        """Whether a row, or an element of it, belongs to a section."""
        tests = [self._passes(condition) for condition in section.when]
        if section.each is not None:
            tests.append(ColumnExpression("has_item"))
        return reduce(lambda left, right: left & right, tests, ConstantExpression(value=True))

    def field(self, name: str, place: Place) -> Field:
        """One of our columns, as text."""
        if place.path is None:
            return Field(name=name, value=ConstantExpression(place.constant).cast("VARCHAR"), type="VARCHAR")
        text = self._first_text(place.path)
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
        nested = FunctionExpression("is_nested", self.first(place.path)) if name in SINGLE else None
        return Field(name=name, value=text, type="VARCHAR", nested=nested)

    def first(self, paths: Sequence[str]) -> Expression:
        """The JSON at the first path that leads anywhere."""
        return _first([self._found(path) for path in paths])

    def _passes(self, condition: Condition) -> Expression:
        if condition.present is not None:
            there = FunctionExpression("json_type", self.first(condition.path))
            there = FunctionExpression("nullif", there, ConstantExpression("NULL"))
            return there.isnotnull() if condition.present else there.isnull()
        listed = condition.equals if condition.equals is not None else condition.unlike or ()
        among = self._first_text(condition.path).isin(*(ConstantExpression(each) for each in listed))
        among = CoalesceOperator(among, ConstantExpression(value=False))
        return among if condition.equals is not None else ~among

    def _first_text(self, paths: Sequence[str]) -> Expression:
        return _first([FunctionExpression("filled_text", self._found(path)) for path in paths])

    def _found(self, text: str) -> Expression:
        """The JSON at a path: out of what was looked up, and from there on through arrays of objects."""
        path = read_path(text)
        head, rest = _head(path)
        place = self._heads[path.of_item].index(head) + 1
        name = self.columns[path.of_item]
        found: Expression = FunctionExpression("list_extract", ColumnExpression(name), ConstantExpression(place))
        pointer = ""
        for step in rest:
            if isinstance(step, Lookup):
                key = ConstantExpression(_pointer([Name(step.key)]))
                found = FunctionExpression("element_where", _at(found, pointer), key, ConstantExpression(step.wanted))
                pointer = ""
            else:
                pointer += _pointer([step])
        return _at(found, pointer)


def _head(path: Path) -> tuple[str, tuple[Step, ...]]:
    """The pointer that a path begins with, and its steps from the first look-up on."""
    first = next((at for at, step in enumerate(path.steps) if isinstance(step, Lookup)), len(path.steps))
    return _pointer(path.steps[:first]), path.steps[first:]


def _pointer(steps: Sequence[Step]) -> str:
    """Names and positions as a JSON pointer (RFC 6901)."""
    parts = [
        step.name.replace("~", "~0").replace("/", "~1") if isinstance(step, Name) else str(step.place)
        for step in steps
        if isinstance(step, Name | Position)
    ]
    return "".join(f"/{part}" for part in parts)


def _first(found: Sequence[Expression]) -> Expression:
    return found[0] if len(found) == 1 else CoalesceOperator(*found)


def _at(found: Expression, pointer: str) -> Expression:
    return FunctionExpression("json_extract", found, ConstantExpression(pointer)) if pointer else found
