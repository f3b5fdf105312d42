"""Mistakes in definitions, in words: file, path, value, what is wrong, and the nearest valid name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypeAlias, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipelines.errors import UsageError

Location: TypeAlias = tuple[str | int, ...]
LONGEST_VALUE = 60
NAME_RULE = "must start with a lower-case letter and hold only a-z, 0-9 and _ (at most 64 characters)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake inside one file."""

    location: Location
    """Keys and list positions from the top of the file, for example ``("variants", 1, "share")``."""
    value: object
    """What is written there; None where something is missing."""
    message: str
    """What is wrong and what is allowed; reads on after the value."""
    nearest: str | None = None
    """The closest valid name, if one is close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a workspace's files.

    Attributes
    ----------
    file
        Path below the workspace, with forward slashes.
    path
        Where in the file: keys joined by dots, list positions from 0, for example ``variants[1].share``; empty for
        the file as a whole.
    value
        What is written there; None where something is missing.
    message
        What is wrong and what is allowed.
    nearest
        The closest valid name, if one is close.
    """

    file: str
    path: str
    value: object
    message: str
    nearest: str | None = None

    def line(self) -> str:
        """The problem on one line."""
        shown = "" if self.value is None else f" = {toml_value(self.value)}"
        place = f"{self.file}: {self.path}{shown}" if self.path else self.file
        hint = "" if self.nearest is None else f" Did you mean {self.nearest!r}?"
        return f"{place}: {self.message}.{hint}"

    def as_dict(self) -> dict[str, object]:
        """The problem as JSON-ready values."""
        plain = self.value if isinstance(self.value, str | bool | int | None) else toml_value(self.value, longest=None)
        return {
            "file": self.file,
            "path": self.path,
            "value": plain,
            "message": self.message,
            "nearest": self.nearest,
        }


class DefinitionError(UsageError):
    """Definitions hold mistakes.

    Attributes
    ----------
    problems
        All of them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
        super().__init__("\n".join([f"{count} in the definitions:", *(problem.line() for problem in self.problems)]))


def nearest_name(written: object, choices: Iterable[str]) -> str | None:
    """The choice closest to what was written, ignoring case, dashes and spaces; None if none is close."""
    if not isinstance(written, str):
        return None
    folded = {_fold(choice): choice for choice in choices}
    found = difflib.get_close_matches(_fold(written), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def _fold(text: str) -> str:
    return re.sub(r"[\s\-.]+", "_", text.strip().lower())


def slug(text: str) -> str | None:
    """`text` as a valid name, or None if nothing is left of it."""
    cleaned = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_").lstrip("0123456789_")[:64]
    return cleaned or None


def toml_path(location: Location) -> str:
    """Keys joined by dots and list positions in brackets, for example ``variants[1].share``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            key = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part, ensure_ascii=False)
            path += f".{key}" if path else key
    return path


def toml_value(value: object, *, longest: int | None = LONGEST_VALUE) -> str:
    """A value roughly as TOML writes it, cut to `longest` characters."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, datetime | date):
        text = value.isoformat()
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key} = {toml_value(item, longest=None)}" for key, item in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(toml_value(item, longest=None) for item in value) + "]"
    else:
        text = str(value)
    return text if longest is None or len(text) <= longest else text[: longest - 1] + "…"


def field_mistakes(errors: Sequence[ErrorDetails], model: type[BaseModel]) -> Iterator[Mistake]:
    """Pydantic's complaints about one file in our words.

    A missing key is not reported beside an unknown key that is a misspelling of it.
    """
    unknown = [error for error in errors if error["type"] == "extra_forbidden"]
    misspelt = set()
    for error in unknown:
        *parent, key = error["loc"]
        meant = nearest_name(key, _keys(model, tuple(parent)))
        misspelt.add((*parent, meant))
    for error in errors:
        if error["type"] == "missing" and error["loc"] in misspelt:
            continue
        if error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]:
            continue  # pydantic counts only the valid items; what is wrong with the others is reported already
        mistake = _field_mistake(error, model)
        yield replace(mistake, location=_walk(model, mistake.location)[1])


def _field_mistake(error: ErrorDetails, model: type[BaseModel]) -> Mistake:
    location: Location = error["loc"]
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "contradiction":
        written = value.get(context["field"]) if isinstance(value, Mapping) else None
        return Mistake(location=(*location, context["field"]), value=written, message=context["message"])
    if kind == "missing":
        field = _field(model, location)
        meaning = f" ({field.description.rstrip('.')})" if field and field.description else ""
        return Mistake(location=location, value=None, message=f"is missing{meaning}")
    if kind.startswith("union_tag"):
        choices = tuple(re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))) or _kinds(model, location)
        wrong, written = kind == "union_tag_invalid", context.get("tag")
        message = ("must be " if wrong else "is missing; it is ") + " or ".join(choices)
        return Mistake(
            location=(*location, "kind"), value=written, message=message, nearest=nearest_name(written, choices)
        )
    if kind == "extra_forbidden":
        keys = _keys(model, location[:-1])
        nearest = nearest_name(location[-1], keys)
        allowed = "" if nearest else f"; the keys here are {', '.join(keys)}"
        return Mistake(location=location, value=value, message=f"is not a known key{allowed}", nearest=nearest)
    if kind in {"literal_error", "enum"}:
        choices = tuple(re.findall(r"'([^']*)'", context["expected"]))
        message = f"must be {context['expected']}"
        return Mistake(location=location, value=value, message=message, nearest=nearest_name(value, choices))
    if kind == "string_pattern_mismatch":
        return Mistake(location=location, value=value, message=NAME_RULE, nearest=slug(value))
    nearest = nearest_name(value, context.get("choices", ()))
    return Mistake(location=location, value=value, message=_words(error), nearest=nearest)


_WORDS = {
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "float_type": "must be a number, without quotes",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false, without quotes",
    "finite_number": "must be a finite number",
    "tuple_type": 'must be a list, for example ["a", "b"]',
    "model_type": "must be a table with keys",
    "model_attributes_type": "must be a table with keys",
    "dict_type": "must be a table with keys",
}
_LIMITS = {
    "greater_than": ("gt", "must be greater than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


def _words(error: ErrorDetails) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"{words} {context[key]:g}"
    if kind == "timezone_aware":
        return (
            "has no offset from UTC, so it would be a different moment in every time zone; write "
            f"{value.isoformat()}Z for UTC, or end it in an offset such as +01:00"
        )
    if kind.startswith("datetime"):
        return "must be a date and time with an offset and without quotes, for example 2026-03-01T00:00:00Z"
    if kind == "too_short":
        return f"must have at least {context['min_length']} entries, found {len(value)}"
    if kind == "string_too_long":
        return f"must have at most {context['max_length']} characters, found {len(value)}"
    return error["msg"][:1].lower() + error["msg"][1:].rstrip(".")


def _models(annotation: object) -> list[type[BaseModel]]:
    """The models inside an annotation such as ``tuple[Variant, ...]`` or ``MailChannel | ChatChannel``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]


def _walk(model: type[BaseModel], location: Location) -> tuple[type[BaseModel] | None, Location]:
    """The model at a place, and the place as people know it: pydantic adds the kind where a key takes several kinds."""
    found, place = [model], list[str | int]()
    for part in location:
        tagged = [each for each in found if _kind(each) == part] if len(found) > 1 else []
        if not tagged:
            place.append(part)
        if isinstance(part, str):
            fields = [field for each in found if (field := _keyed(each).get(part))]
            found = tagged or (_models(fields[0].annotation) if fields else [])
    return (found[0] if found else None), tuple(place)


def _kinds(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    """The kinds that an entry of a list may have."""
    field = _field(model, tuple(part for part in location if isinstance(part, str)))
    return tuple(str(_kind(each)) for each in _models(field.annotation)) if field else ()


def _kind(model: type[BaseModel]) -> object:
    field = model.model_fields.get("kind")
    return next(iter(get_args(field.annotation)), None) if field else None


def _field(model: type[BaseModel], location: Location) -> FieldInfo | None:
    parent, _ = _walk(model, location[:-1])
    return _keyed(parent).get(str(location[-1])) if parent and location else None


def _keys(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    found, _ = _walk(model, location)
    return tuple(_keyed(found)) if found else ()


def _keyed(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields by the key that people write."""
    return {field.alias or name: field for name, field in model.model_fields.items()}
