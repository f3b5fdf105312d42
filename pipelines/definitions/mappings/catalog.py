"""Which mappings there are: those that come with rampwise, and a workspace's own in `mappings/`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.definitions.mappings.mapping import Mapping, merged
from pipelines.definitions.problems import DefinitionError, Mistake, Problem, field_mistakes, nearest_name, toml_path
from pipelines.errors import UsageError

FOLDER = "mappings"


class UnknownMappingError(UsageError):
    """A mapping was asked for that does not exist; `name`, `known` and `nearest` say which, and what there is."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known, self.nearest = name, known, nearest_name(name, known)
        hint = f"Did you mean {self.nearest!r}?" if self.nearest else f"There is: {', '.join(known)}."
        super().__init__(f"No mapping is called {name!r}. {hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A mapping and where it comes from; `own` tells a workspace's from those that come with rampwise."""

    mapping: Mapping
    own: bool


@cache
def _builtin_tables() -> dict[str, dict[str, Any]]:
    folder = files("pipelines.definitions.mappings") / "builtin"
    return {
        path.name.removesuffix(".toml"): tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.iterdir(), key=lambda path: path.name)
        if path.name.endswith(".toml")
    }


def find_mappings(root: Path | None) -> dict[str, Found]:
    """All mappings by name; one of the workspace at `root` takes the place of one that comes with rampwise.

    Raises
    ------
    DefinitionError
        If a file in `mappings/` holds mistakes: it names file, key and value.
    """
    found, problems = find_sound_mappings(root)
    if problems:
        raise DefinitionError(problems)
    return found


def find_sound_mappings(root: Path | None) -> tuple[dict[str, Found], tuple[Problem, ...]]:
    """All mappings that can be used, and the mistakes in the others; a broken one hides what it takes the place of."""
    found = {
        name: Found(mapping=Mapping.model_validate({**table, "name": name}), own=False)
        for name, table in _builtin_tables().items()
    }
    problems: list[Problem] = []
    if root is not None:
        for mapping in _own(root, problems):
            found[mapping.name] = Found(mapping=mapping, own=True)
    for problem in problems:
        found.pop(Path(problem.file).stem, None)
    return dict(sorted(found.items())), tuple(problems)


def load_mapping(root: Path | None, name: str) -> Mapping:
    """The mapping called `name`.

    Raises
    ------
    UnknownMappingError, DefinitionError
        If there is none, or one of the workspace's holds mistakes.
    """
    found = find_mappings(root)
    if name not in found:
        raise UnknownMappingError(name, tuple(found))
    return found[name].mapping


def mapping_problems(root: Path) -> tuple[Problem, ...]:
    """Every mistake in a workspace's mappings."""
    problems: list[Problem] = []
    list(_own(root, problems))
    return tuple(problems)


def _own(root: Path, problems: list[Problem]) -> Iterator[Mapping]:
    for path in sorted((root / FOLDER).glob("*.toml")):
        label = path.relative_to(root).as_posix()
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            problems.append(Problem(file=label, path="", value=None, message=f"cannot be read as TOML: {error}"))
            continue
        mapping, mistakes = _validated(path.stem, table)
        problems += [
            Problem(
                file=label,
                path=toml_path(mistake.location),
                value=mistake.value,
                message=mistake.message,
                nearest=mistake.nearest,
            )
            for mistake in mistakes
        ]
        if mapping is not None:
            yield mapping


def _validated(name: str, table: dict[str, Any]) -> tuple[Mapping | None, list[Mistake]]:
    base = table.get("extends")
    if base is not None:
        known = _builtin_tables()
        if base not in known:
            message = f"is no mapping that comes with rampwise; there are {', '.join(known)}"
            return None, [
                Mistake(location=("extends",), value=base, message=message, nearest=nearest_name(base, known))
            ]
        table = merged({key: value for key, value in known[base].items() if key != "title"}, table)
        table.setdefault("title", f"{known[base]['title']}, changed")
    if "name" in table and table["name"] != name:
        message = "must equal the file's name without .toml: leave it out"
        return None, [Mistake(location=("name",), value=table["name"], message=message, nearest=name)]
    try:
        return Mapping.model_validate({**table, "name": name}), []
    except ValidationError as error:
        found = list(error.errors(include_url=False))
    mistakes = list(field_mistakes([item for item in found if item["type"] != "value_error"], Mapping))
    for item in found:
        if item["type"] == "value_error":
            value = item["input"] if isinstance(item["input"], str) else None
            message = str(item["ctx"]["error"])
            mistakes.append(Mistake(location=_told(item["loc"]), value=value, message=message))
    return None, mistakes


def _told(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return tuple(part for part in location if part != "[key]")
