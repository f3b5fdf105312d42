"""Definitions from a workspace's folders: all of them, or every mistake in them."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from pipelines.config import Settings, SettingsError, Workspace
from pipelines.definitions.consistency import (
    experiment_mistakes,
    experiment_references,
    metric_references,
    report_mistakes,
)
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.measurable import covariate_mistakes, metric_mistakes
from pipelines.definitions.metrics import Metric, metric_kinds
from pipelines.definitions.problems import (
    DefinitionError,
    Location,
    Mistake,
    Problem,
    field_mistakes,
    nearest_name,
    toml_path,
)
from pipelines.definitions.reports import ReportSchedule
from pipelines.definitions.rollout_references import rollout_metrics, rollouts_mistakes
from pipelines.definitions.rollouts import Rollout
from pipelines.errors import UsageError

METRIC_KINDS = metric_kinds()
_METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
_Model = TypeVar("_Model", Experiment, ReportSchedule, Rollout)
DEFINED_TWICE = "already: names are unique"
FOLDERS = ("metrics", "experiments", "rollouts", "reports")


class UnknownNameError(UsageError):
    """Something was asked for by a name that is not defined.

    Attributes
    ----------
    name, known, nearest
        What was asked for, what there is, and the closest of it (None if none is close).
    """

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, tuple(sorted(known))
        self.nearest = nearest_name(name, self.known)
        if self.nearest:
            hint = f"Did you mean {self.nearest!r}?"
        else:
            hint = f"There is: {', '.join(self.known)}." if self.known else f"This workspace defines no {what} yet."
        super().__init__(f"No {what} is called {name!r}. {hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """Everything a workspace defines, by name."""

    metrics: dict[str, Metric]
    experiments: dict[str, Experiment]
    reports: dict[str, ReportSchedule]
    rollouts: dict[str, Rollout] = field(default_factory=dict)

    def rollout(self, name: str) -> Rollout:
        """The rollout called `name`.

        Raises
        ------
        UnknownNameError
            If there is none; it names the nearest.
        """
        if name not in self.rollouts:
            raise UnknownNameError("rollout", name, self.rollouts)
        return self.rollouts[name]

    def experiment(self, name: str) -> Experiment:
        """The experiment called `name`.

        Raises
        ------
        UnknownNameError
            If there is none; it names the nearest.
        """
        if name not in self.experiments:
            raise UnknownNameError("experiment", name, self.experiments)
        return self.experiments[name]

    def summary(self) -> str:
        """How many there are of each, for example ``"4 metrics, 1 experiment, 1 report"``."""
        counts: list[tuple[str, Sized]] = [
            ("metric", self.metrics),
            ("experiment", self.experiments),
            ("report", self.reports),
        ]
        if self.rollouts:
            counts.append(("rollout", self.rollouts))
        return ", ".join(f"{len(found)} {word}{'' if len(found) == 1 else 's'}" for word, found in counts)

    @property
    def variants(self) -> dict[str, frozenset[str]]:
        """The variants of every experiment and rollout: what an exposure may name."""
        rollouts = {
            name: frozenset(("off", *(arm.name for arm in rollout.all_arms))) for name, rollout in self.rollouts.items()
        }
        return rollouts | {
            name: frozenset(variant.name for variant in experiment.variants)
            for name, experiment in self.experiments.items()
        }


NOTHING = Definitions(metrics={}, experiments={}, reports={})


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A TOML file that could be read."""

    label: str
    name: str
    table: dict[str, Any]

    def problem(self, mistake: Mistake) -> Problem:
        return Problem(
            file=self.label,
            path=toml_path(mistake.location),
            value=mistake.value,
            message=mistake.message,
            nearest=mistake.nearest,
        )


def load_definitions(root: Path) -> Definitions:
    """All definitions below a workspace's root.

    Raises
    ------
    DefinitionError
        If there are mistakes: it holds every one.
    """
    definitions, problems = _read(root)
    if problems:
        raise DefinitionError(problems)
    return definitions


def load_sound(root: Path) -> tuple[Definitions, tuple[Problem, ...]]:
    """The definitions that can be relied on, and every mistake in the others; what is defined twice is left out."""
    definitions, problems = _read(root)
    twice = {(each.file.split("/", 1)[0], each.value) for each in problems if DEFINED_TWICE in each.message}
    experiments = {name: found for name, found in definitions.experiments.items() if ("experiments", name) not in twice}
    rollouts = {name: found for name, found in definitions.rollouts.items() if ("rollouts", name) not in twice}
    return replace(definitions, experiments=experiments, rollouts=rollouts), tuple(problems)


def find_problems(root: Path) -> tuple[Problem, ...]:
    """Every mistake in a workspace's settings and definitions, by file; empty if all is well."""
    return (*_settings_problems(Workspace(root=root)), *_read(root)[1])


def definition_hash(model: BaseModel) -> str:
    """SHA-256 of a definition's canonical JSON: keys sorted, times in UTC, defaults left out.

    The order of keys, comments, the way a number is written (1 or 1.0) and a later version's new optional keys leave
    the hash as it is; every change of meaning changes it.
    """
    content = model.model_dump(mode="json", exclude_defaults=True)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read(root: Path) -> tuple[Definitions, list[Problem]]:
    problems: list[Problem] = []
    files = {folder: list(_files(root, folder, problems)) for folder in FOLDERS}
    metric_names = [file.name for file in files["metrics"]]
    experiment_names = [file.name for file in files["experiments"]]
    metrics: dict[str, Metric] = {}
    experiments: dict[str, Experiment] = {}
    reports: dict[str, ReportSchedule] = {}
    for file in files["metrics"]:
        metric, mistakes = _metric(file.table)
        problems += map(file.problem, mistakes)
        if metric is not None:
            metrics[file.name] = metric
    for file in files["metrics"]:
        if file.name in metrics:
            problems += map(file.problem, covariate_mistakes(metrics[file.name], metrics, metric_names))
    for file in files["experiments"]:
        experiment, mistakes = _validated(Experiment, file.table, experiment_mistakes)
        unknown = _unknown(metric_references(file.table), metric_names, "metrics")
        problems += map(file.problem, (*mistakes, *unknown, *metric_mistakes(file.table, metrics)))
        if experiment is not None:
            experiments[file.name] = experiment
    for file in files["reports"]:
        report, mistakes = _validated(ReportSchedule, file.table, report_mistakes)
        unknown = _unknown(experiment_references(file.table), experiment_names, "experiments")
        problems += map(file.problem, (*mistakes, *unknown))
        if report is not None:
            reports[file.name] = report
    rollouts = _rollouts(files["rollouts"], metric_names, experiment_names, problems)
    problems.sort(key=lambda problem: (FOLDERS.index(problem.file.split("/", 1)[0]), problem.file))
    return Definitions(metrics=metrics, experiments=experiments, reports=reports, rollouts=rollouts), problems


def _rollouts(
    files: list[_File], metric_names: list[str], experiment_names: list[str], problems: list[Problem]
) -> dict[str, Rollout]:
    """Rollouts that are sound, each by itself; what is wrong with one, or between them, is a problem."""
    rollouts: dict[str, Rollout] = {}
    by_name = {file.name: file for file in files}
    for file in files:
        rollout, mistakes = _validated(Rollout, file.table, lambda _: iter(()))
        unknown = _unknown(rollout_metrics(file.table), metric_names, "metrics")
        problems += map(file.problem, (*mistakes, *unknown))
        if file.name in experiment_names:
            message = "is the name of an experiment too: exposures could not tell them apart"
            problems.append(file.problem(Mistake(location=("name",), value=file.name, message=message)))
        if rollout is not None:
            rollouts[file.name] = rollout
    for name, mistake in rollouts_mistakes({file.name: file.table for file in files}):
        problems.append(by_name[name].problem(mistake))
    return rollouts


def _files(root: Path, folder: str, problems: list[Problem]) -> Iterator[_File]:
    """Read the TOML files of a folder and those below it; what cannot be read, or is there twice, is a problem."""
    seen: dict[str, str] = {}
    for path in sorted((root / folder).rglob("*")):
        if path.suffix.lower() != ".toml" or path.name.startswith(".") or not path.is_file():
            continue
        label, name = path.relative_to(root).as_posix(), path.stem
        table = _table(path, label, problems)
        written = table.get("name", name)
        if written != name:
            message = "must equal the file's name without .toml: rename the file, or leave name out"
            problems.append(Problem(file=label, path="name", value=written, message=message, nearest=name))
        if name in seen:
            message = f"is defined in {seen[name]} {DEFINED_TWICE} within {folder}/"
            problems.append(Problem(file=label, path="name", value=name, message=message))
        seen.setdefault(name, label)
        # A file with a mistake still defines its name: what refers to it is not wrong as well.
        yield _File(label=label, name=name, table={**table, "name": name} if table else {})


def _table(path: Path, label: str, problems: list[Problem]) -> dict[str, Any]:
    """The contents of a TOML file; empty, with the problem noted, where there are none."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        message = f"is not valid TOML: {str(error)[:1].lower()}{str(error)[1:]}"
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}): save it as UTF-8"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    else:
        if table:
            return table
        message = "is empty: write a definition into it, or delete it"
    problems.append(Problem(file=label, path="", value=None, message=message))
    return {}


def _metric(table: dict[str, Any]) -> tuple[Metric | None, list[Mistake]]:
    """A metric, or its mistakes. Where `kind` cannot be used, the kind that fits best shows what else is wrong."""
    if not table:
        return None, []
    kind = table.get("kind")
    if isinstance(kind, str) and kind in METRIC_KINDS:
        try:
            return _METRIC.validate_python(table), []
        except ValidationError as error:
            errors = error.errors(include_url=False)
        for item in errors:
            item["loc"] = item["loc"][1:]  # pydantic puts the kind in front
        return None, list(field_mistakes(errors, METRIC_KINDS[kind]))
    kinds = ", ".join(METRIC_KINDS)
    message = f"is missing (what is counted per unit: {kinds})" if kind is None else f"must be one of {kinds}"
    first = Mistake(location=("kind",), value=kind, message=message, nearest=nearest_name(kind, METRIC_KINDS))
    guesses = [_metric({**table, "kind": guess})[1] for guess in METRIC_KINDS]
    return None, [first, *min(guesses, key=len)]


def _validated(
    model: type[_Model], table: dict[str, Any], check: Callable[[Mapping[str, Any]], Iterator[Mistake]]
) -> tuple[_Model | None, list[Mistake]]:
    """A definition, or its mistakes: of single fields first, then contradictions between them."""
    if not table:
        return None, []
    try:
        return model.model_validate(table), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        fields = [item for item in found if item["loc"] or item["type"] == "contradiction"]
    mistakes = list(field_mistakes(fields, model))
    blamed: set[tuple[str | int | None, ...]] = {mistake.location for mistake in mistakes} | {
        (mistake.nearest,) for mistake in mistakes
    }
    empty_roles = {("success",), ("guardrails",)} & blamed  # then the file as a whole is not to blame
    mistakes += [each for each in check(table) if each.location not in blamed and (each.location or not empty_roles)]
    return None, mistakes


def _unknown(references: Iterable[tuple[Location, str]], known: list[str], what: str) -> Iterator[Mistake]:
    for location, name in references:
        if name not in known:
            nearest = nearest_name(name, known)
            there_is = "" if nearest else f"; there is {', '.join(known[:12]) or 'none'}"
            message = f"is not defined in {what}/{there_is}"
            yield Mistake(location=location, value=name, message=message, nearest=nearest)


def _settings_problems(workspace: Workspace) -> Iterator[Problem]:
    try:
        Settings.load(workspace)
    except SettingsError as error:
        for name, value, message in error.mistakes:
            nearest = nearest_name(name, Settings.model_fields) if name not in Settings.model_fields else None
            yield Problem(
                file=workspace.settings_path.name, path=name, value=value, message=message.rstrip("."), nearest=nearest
            )
