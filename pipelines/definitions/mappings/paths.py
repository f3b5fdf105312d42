"""Paths into a row: names joined by dots, positions and look-ups in brackets.

`properties.revenue`, `attributes."feature_flag.key"`, `items[0].price`, `event_params[key=variant].value.string_value`;
`@.name` starts at the item of `each` instead of at the row; `[*]` is every element, and only `each` may use it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

STEP = re.compile(
    r"""(?P<name>[^\s."'\[\]=@*\\]+|"[^"\\]+"|@)|\[(?P<place>[0-9]{1,6})\]|\[(?P<every>\*)\]"""
    r"""|\[(?P<key>[^\s."'\[\]=@*\\]+)=(?P<wanted>"[^"\\]+"|[^\]"\\]+)\]"""
)


class PathError(ValueError):
    """A path cannot be read; the message reads on after the path."""


@dataclass(frozen=True, slots=True)
class Name:
    """A member of an object."""

    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """An element of an array, from 0."""

    place: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """The first element of an array of objects whose member `key` is the text `wanted`."""

    key: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Every:
    """All elements of an array."""


Step: TypeAlias = Name | Place | Lookup | Every


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A path that has been read; `of_item` says that it starts at the item of `each`."""

    steps: tuple[Step, ...]
    of_item: bool = False

    @property
    def root(self) -> str | None:
        """The row's own member or column it starts from; None for a path of the item."""
        first = self.steps[0] if self.steps else None
        return first.name if isinstance(first, Name) and not self.of_item else None


def read_path(text: str, *, every: bool = False) -> Path:
    """A path from its text; `every` allows `[*]`.

    Raises
    ------
    PathError
        If the text is no path.
    """
    steps: list[Step] = []
    at, of_item, wants_name = 0, False, True
    while at < len(text):
        found = STEP.match(text, at)
        if found is None or wants_name != (found["name"] is not None):
            raise PathError(f"is not a path: character {at + 1} is unexpected (names with dots need quotes)")
        if found["name"] == "@":
            if at:
                raise PathError("has @ in the middle; it stands for the item and comes first")
            of_item = True
        else:
            steps.append(_step(found, every=every))
        at = found.end()
        wants_name = at < len(text) and text[at] == "."
        at += wants_name
    if wants_name:
        raise PathError("is not a path: it ends in a dot" if text else "is empty")
    if not steps and every:
        raise PathError("names nothing")
    return Path(steps=tuple(steps), of_item=of_item)


def _step(found: re.Match[str], *, every: bool) -> Step:
    if found["name"] is not None:
        return Name(found["name"].strip('"'))
    if found["place"] is not None:
        return Place(int(found["place"]))
    if found["every"] is not None:
        if not every:
            raise PathError("has [*], which only `each` may use")
        return Every()
    return Lookup(found["key"], found["wanted"].strip('"'))
