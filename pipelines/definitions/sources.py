"""Which events count: an event's name and typed conditions on its attributes."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.definitions.definition import AttributeName, Definition, EventName

LARGEST_WHOLE = 2**53
Comparison: TypeAlias = Literal["is", "is_not", "in", "not_in", "at_least", "at_most", "above", "below", "exists"]
COMPARISONS: tuple[Comparison, ...] = (
    "is",
    "is_not",
    "in",
    "not_in",
    "at_least",
    "at_most",
    "above",
    "below",
    "exists",
)


def _check_scalar(value: object) -> object:
    """Text, true or false, or a number; the error stands at the value, not at a member of the union."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int) and abs(value) <= LARGEST_WHOLE:
        return value
    if isinstance(value, int):
        raise PydanticCustomError("scalar", "is beyond 2^53, where numbers have gaps: write an id as text in quotes")
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise PydanticCustomError("scalar", "must be text in quotes, a number, true or false")


def _check_list(value: object) -> object:
    if not isinstance(value, list | tuple) or not value:
        raise PydanticCustomError("scalars", 'must be a list with an entry or more, for example ["DE", "AT"]')
    return value


Scalar: TypeAlias = Annotated[str | bool | int | float, BeforeValidator(_check_scalar)]
Scalars: TypeAlias = Annotated[tuple[Scalar, ...], BeforeValidator(_check_list), Field(strict=False)]


class Condition(Definition):
    """What an attribute of an event must be: `attribute` and exactly one comparison.

    The type of what is written here decides how the attribute is read, whatever file it came from. Text is compared
    with the attribute's text. A number is compared with the attribute's number, be it a JSON number or a text that
    spells one. `true` and `false` are compared with the JSON values and with the texts "true" and "false", whatever
    their case. An attribute that is missing, JSON null or cannot be read as that type fits `is_not`, `not_in` and
    `exists = false` (where it is missing or null) and nothing else.
    """

    attribute: AttributeName
    """The attribute: a column of the event's file that is none of rampwise's own."""
    is_: Scalar | None = Field(default=None, alias="is")
    """It equals this."""
    is_not: Scalar | None = None
    """It does not equal this, or is missing."""
    in_: Scalars | None = Field(default=None, alias="in")
    """It equals one of these."""
    not_in: Scalars | None = None
    """It equals none of these, or is missing."""
    at_least: float | None = None
    """It is a number of at least this."""
    at_most: float | None = None
    """It is a number of at most this."""
    above: float | None = None
    """It is a number greater than this."""
    below: float | None = None
    """It is a number less than this."""
    exists: bool | None = None
    """Whether it is there and not null."""

    @model_validator(mode="after")
    def _one_comparison(self) -> Self:
        written = self._written()
        if len(written) != 1:
            found = "has none" if not written else f"has {' and '.join(name for name, _ in written)}"
            raise PydanticCustomError(
                "comparison",
                "needs exactly one comparison ({choices}) and {found}; several conditions on an attribute are several "
                "filters",
                {"choices": ", ".join(COMPARISONS), "found": found},
            )
        return self

    @property
    def comparison(self) -> Comparison:
        """Which comparison."""
        return self._written()[0][0]

    @property
    def value(self) -> str | bool | int | float | tuple[str | bool | int | float, ...]:
        """What it is compared with: a tuple for `in` and `not_in`."""
        return self._written()[0][1]

    def _written(self) -> list[tuple[Comparison, str | bool | int | float | tuple[str | bool | int | float, ...]]]:
        values = (
            self.is_,
            self.is_not,
            self.in_,
            self.not_in,
            self.at_least,
            self.at_most,
            self.above,
            self.below,
            self.exists,
        )
        return [(name, value) for name, value in zip(COMPARISONS, values, strict=True) if value is not None]

    def _identity(self) -> tuple[object, ...]:
        value = self.value
        values = value if isinstance(value, tuple) else (value,)
        return self.attribute, self.comparison, tuple((type(each) is bool, each) for each in values)

    def __eq__(self, other: object) -> bool:
        """`true` is not 1: two conditions are the same if they fit the same attributes."""
        return isinstance(other, Condition) and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Equal conditions have equal hashes, so that what reads the same events is read once."""
        return hash(self._identity())


Conditions: TypeAlias = Annotated[tuple[Condition, ...], Field(strict=False)]


class Source(Definition):
    """Events of one name that satisfy all conditions."""

    event: EventName
    """The event's name in your data."""
    filters: Conditions = ()
    """Conditions on the event's attributes; all must hold."""
