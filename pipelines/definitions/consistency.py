"""What the fields of a definition must satisfy together, checked on plain tables.

On plain tables rather than on models, so that these mistakes are found beside those of single fields: a file with a
misspelt key still has its shares added up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeGuard

from pipelines.definitions.planned import plan_mistakes
from pipelines.definitions.problems import Location, Mistake, nearest_name

SHARE_TOLERANCE = 1e-9


def experiment_mistakes(table: Mapping[str, Any]) -> Iterator[Mistake]:
    """Contradictions within an experiment; fields that are missing or of a wrong type are passed over."""
    yield from _variant_mistakes(table)
    start, end = table.get("start"), table.get("end")
    if _is_aware(start) and _is_aware(end) and end <= start:
        yield Mistake(location=("end",), value=end, message=f"is not after start, {start.isoformat()}")
    references = tuple(metric_references(table))
    if not any(location[0] in {"success", "guardrails"} for location, _ in references):
        yield Mistake(
            location=(), value=None, message="has neither success metrics nor guardrails: nothing could ever be decided"
        )
    yield from plan_mistakes(table)
    roles: dict[str, Location] = {}
    for location, name in references:
        if name in roles:
            yield Mistake(
                location=location,
                value=name,
                message=f"is listed in {roles[name][0]} already: a metric has one role in an experiment",
            )
        roles.setdefault(name, location)


def metric_references(table: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Where an experiment names metrics: location and name, success first, then guardrails, secondary, exploratory."""
    for location, name in _entries(table, "success"):
        if isinstance(name, str):
            yield location, name
    for location, guardrail in _entries(table, "guardrails"):
        if isinstance(guardrail, Mapping) and isinstance(guardrail.get("metric"), str):
            yield (*location, "metric"), guardrail["metric"]
    for role in ("secondary", "exploratory"):
        for location, name in _entries(table, role):
            if isinstance(name, str):
                yield location, name


def report_mistakes(table: Mapping[str, Any]) -> Iterator[Mistake]:
    """Contradictions within a report schedule."""
    if "cron" not in table and table.get("kind") != "final":
        message = 'is missing: when it is due, for example "0 8 * * MON" for Mondays at 8'
        yield Mistake(location=("cron",), value=None, message=message)
    if table.get("experiments") and "scope" in table:
        yield Mistake(
            location=("scope",), value=table["scope"], message="cannot stand beside experiments: keep one of the two"
        )


def experiment_references(table: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Where a report names experiments: location and name."""
    for location, name in _entries(table, "experiments"):
        if isinstance(name, str):
            yield location, name


def _variant_mistakes(table: Mapping[str, Any]) -> Iterator[Mistake]:
    variants = [entry for _, entry in _entries(table, "variants")]
    if not variants or not all(isinstance(entry, Mapping) for entry in variants):
        return
    names: list[str] = []
    for position, entry in enumerate(variants):
        name = entry.get("name")
        if isinstance(name, str) and name in names:
            yield Mistake(
                location=("variants", position, "name"),
                value=name,
                message="is the name of another variant too: each needs a name of its own",
            )
        elif isinstance(name, str):
            names.append(name)
    control = table.get("control")
    if isinstance(control, str) and control not in names and names:
        yield Mistake(
            location=("control",),
            value=control,
            message=f"is not one of the variants ({', '.join(names)})",
            nearest=nearest_name(control, names),
        )
    shares = [entry.get("share") for entry in variants]
    if all(_is_share(share) for share in shares):
        total = math.fsum(share for share in shares if share is not None)
        if abs(total - 1) > SHARE_TOLERANCE:
            yield Mistake(
                location=("variants",),
                value=shares,
                message=f"are the planned shares; they add up to {total:.10g} and must add up to 1",
            )


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _entries(table: Mapping[str, Any], key: str) -> Iterator[tuple[Location, Any]]:
    entries = table.get(key)
    if isinstance(entries, list | tuple):
        for position, entry in enumerate(entries):
            yield (key, position), entry


def _is_aware(value: object) -> TypeGuard[datetime]:
    return isinstance(value, datetime) and value.tzinfo is not None
