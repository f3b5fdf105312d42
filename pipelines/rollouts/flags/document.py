"""The flag file: typed models of flagd's format, version 0 of its schema, as far as rampwise writes it.

Source: the flag definition schema of the flagd project (flagd.dev/schema/v0/flags.json), read in November 2026.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pipelines.errors import PipelineError

SCHEMA = "https://flagd.dev/schema/v0/flags.json"
Key: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Scalar: TypeAlias = bool | int | float | str
_FORBIDDEN = {"fractional"}
_OPERATORS = {
    "var", "if", "===", "!==", "!", "!!", "and", "or", ">", ">=", "<", "<=", "+", "*", "%", "in", "cat",
}  # fmt: skip


class FlagFileError(PipelineError):
    """The flag file cannot be published or read as it is; `problems` lists what is wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__(f"The flag file is not valid: {'; '.join(problems)}. Nothing was published.")


class _Format(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Flag(_Format):
    """One flag of the file."""

    state: Literal["ENABLED"]
    """Always ENABLED: a disabled flag serves whatever default the caller wrote, which nobody controls."""
    variants: dict[Key, Scalar | dict[str, Any]]
    """Values by variant, all of one type."""
    default_variant: Annotated[Key, Field(alias="defaultVariant")]
    """What a unit gets to which no rule gives anything."""
    targeting: dict[str, Any] | None = None
    """The rule, in JsonLogic; none: everybody gets the default."""
    metadata: dict[Key, Scalar]
    """Flat values that evaluations carry along."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.default_variant not in self.variants:
            raise ValueError(f"defaultVariant {self.default_variant!r} is none of the variants")
        kinds = {_kind(value) for value in self.variants.values()}
        if len(kinds) > 1:
            raise ValueError(f"variants are of several types: {', '.join(sorted(kinds))}")
        for operator in _operators(self.targeting):
            if operator in _FORBIDDEN:
                raise ValueError(f"targeting uses {operator}, on which engines differ")
            if operator not in _OPERATORS:
                raise ValueError(f"targeting uses {operator!r}, which is none of the operators that engines agree on")
        return self


class FlagFile(_Format):
    """The whole file."""

    schema_: Annotated[str, Field(alias="$schema")] = SCHEMA
    """Where the format is defined."""
    flags: dict[Key, Flag]
    """The flags by key."""
    metadata: dict[Key, Scalar] = {}
    """Flat values of the file: its revision."""

    def text(self) -> str:
        """The file's contents: keys sorted, so that the same flags give the same bytes."""
        content = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_flag_file(text: str) -> FlagFile:
    """The flag file in a text.

    Raises
    ------
    FlagFileError
        If it is not one that rampwise could have written; every problem with its place.
    """
    try:
        return FlagFile.model_validate_json(text)
    except ValidationError as error:
        problems = tuple(
            f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False)
        )
        raise FlagFileError(problems) from error


def _operators(rule: object) -> set[str]:
    """Names of the operators in a rule; a value of a variant is never looked into."""
    if isinstance(rule, dict):
        found = set(rule)
        return found.union(*(_operators(argument) for argument in rule.values()))
    if isinstance(rule, list):
        return set().union(*(_operators(each) for each in rule))
    return set()


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "object"
