"""What everything read from TOML has in common: strict types, no unknown keys, frozen, names."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
EventName: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
AttributeName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Definition(BaseModel):
    """Base of everything read from TOML: strict types, no unknown keys, frozen."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


def refusal(field: str, message: str) -> PydanticCustomError:
    """What a validator raises where fields contradict each other: the one that must change, and why.

    The loader places it at that field; raised in Python, it names the field in its message.
    """
    return PydanticCustomError("contradiction", "{field} {message}", {"field": field, "message": message})
