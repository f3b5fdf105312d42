"""What a mapping file says; strict and frozen, like every definition."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.definitions.mappings.paths import PathError, read_path

EXPOSURE_FIELDS = ("experiment", "unit_id", "variant", "exposed_at", "exposure_id")
WHOLE_ROW = "$"
EVENT_FIELDS = ("unit_id", "event", "occurred_at", "value", "event_id")
Unit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]


def _path(text: str) -> str:
    try:
        read_path(text)
    except PathError as error:
        raise ValueError(str(error)) from None
    return text


def _path_of_each(text: str) -> str:
    if text == WHOLE_ROW:
        return text
    try:
        path = read_path(text, every=True)
    except PathError as error:
        raise ValueError(str(error)) from None
    if path.of_item or any(type(step).__name__ == "Lookup" for step in path.steps):
        raise ValueError("may hold names, positions and [*] only")
    return text


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    if groups != 1 or re.search(r"\(\?(?!:)|\\[1-9]", text.replace("\\\\", "")):
        raise ValueError("must have exactly one group in round brackets, and neither look-around nor back-references")
    return text


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _placed(value: object) -> object:
    """``"a.b"`` and ``["a", "b"]`` are short for a table with `path`."""
    return {"path": value} if isinstance(value, str | list | tuple) else value


PathText = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_path)]
Paths = Annotated[tuple[PathText, ...], BeforeValidator(_listed), Field(min_length=1, max_length=20)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1, max_length=1000)]
EachPath = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_path_of_each)]


class Table(BaseModel):
    """Strict, frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Place(Table):
    """Where a value is found. A text or list of texts is short for `path`."""

    path: Paths | None = None
    """Paths into the row; the first that holds something wins."""
    constant: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """A value that is the same for every row."""
    pattern: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_pattern)] | None = None
    """A regular expression; its one group is taken. What does not match has no value."""
    names: dict[str, str] = {}
    """Their name = our name; a name that is not listed stays as it is."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.constant is None):
            raise ValueError("needs either path or constant")
        return self


class TimePlace(Place):
    """Where a time is found."""

    unit: Unit | None = None
    """What a number counts since 1970; without it, 10, 13, 16 and 19 digits are told apart."""


class Condition(Table):
    """A test that a row must pass. Give exactly one of equals, unlike and present."""

    path: Paths
    """Paths into the row; the first that holds something is tested."""
    equals: Texts | None = None
    """It is one of these."""
    unlike: Texts | None = None
    """It is none of these, or not there."""
    present: bool | None = None
    """Whether it must be there."""

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if [self.equals, self.unlike, self.present].count(None) != 2:
            raise ValueError("needs exactly one of equals, unlike and present")
        return self


Value = Annotated[Place, BeforeValidator(_placed)]
Moment = Annotated[TimePlace, BeforeValidator(_placed)]


class Section(Table):
    """What exposures and events have in common."""

    when: Annotated[tuple[Condition, ...], BeforeValidator(_listed)] = ()
    """Which rows: every test must pass. All rows where there is none."""
    each: Annotated[tuple[EachPath, ...], BeforeValidator(_listed), Field(min_length=1, max_length=5)] | None = None
    """Arrays in the row, each element of which is one exposure or event, or "$" for the row itself; paths reach into
    an element with @."""
    attributes: dict[Annotated[str, Field(min_length=1, max_length=100)], Paths] = {}
    """Our name = where it is found: what else is kept."""

    def paths(self) -> tuple[str, ...]:
        """Every path in the section."""
        places = [place for name in type(self).model_fields if isinstance(place := getattr(self, name), Place)]
        found = [place.path or () for place in places]
        found += [condition.path for condition in self.when]
        found += list(self.attributes.values())
        return tuple(path for paths in found for path in paths)

    @model_validator(mode="after")
    def _items_need_each(self) -> Self:
        if self.each is None and (stray := [path for path in self.paths() if read_path(path).of_item]):
            raise ValueError(f"{stray[0]} starts at an item, but there is no `each`")
        if taken := sorted({*EXPOSURE_FIELDS, *EVENT_FIELDS} & self.attributes.keys()):
            raise ValueError(f"{taken[0]} is a column of ours and cannot be an attribute too")
        return self


class ExposureSection(Section):
    """Which rows are exposures, and where their columns are found."""

    experiment: Value
    """The experiment's name."""
    unit_id: Value
    """What was randomised."""
    variant: Value
    """What it saw."""
    exposed_at: Moment
    """When."""
    exposure_id: Value | None = None
    """An id that is unique within the source and day."""
    only_defined: bool = False
    """Pass over exposures of experiments that the workspace does not define, instead of rejecting them: for logs of
    every flag there is."""


class EventSection(Section):
    """Which rows are events, and where their columns are found. A row that is an exposure is no event."""

    unit_id: Value
    """Who did it."""
    event: Value
    """What it did."""
    occurred_at: Moment
    """When."""
    value: Value | None = None
    """A number."""
    event_id: Value | None = None
    """An id that is unique within the source and day."""


class Mapping(Table):
    """Where exposures and events are found in files of another system."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    """The file's name without .toml."""
    title: Annotated[str, Field(min_length=1, max_length=200)]
    """For people."""
    description: str = ""
    """Which files it is for."""
    documentation: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Where the other system describes its files."""
    extends: Annotated[str, Field(min_length=1)] | None = None
    """A mapping that comes with rampwise and that this one changes; tables are merged key by key."""
    source: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Whose ids these are; the mapping's name unless given."""
    exposures: ExposureSection | None = None
    """Which rows are exposures."""
    events: EventSection | None = None
    """Which rows are events."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.exposures is None and self.events is None:
            raise ValueError("needs a table [exposures], [events] or both")
        return self

    @property
    def source_name(self) -> str:
        """Whose ids these are."""
        return self.source or self.name


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, table by table; a path in short form counts as a table with `path`."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, str | list):
            below = {"path": below}
        result[key] = merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return result
