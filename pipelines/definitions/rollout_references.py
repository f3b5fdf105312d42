"""What rollouts must satisfy among each other, and the metrics they name; checked on plain tables like the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.definitions.problems import Location, Mistake, nearest_name


def rollout_metrics(table: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Where a rollout names metrics: location and name."""
    for position, guardrail in enumerate(_list(table, "guardrails")):
        if isinstance(guardrail, Mapping) and isinstance(guardrail.get("metric"), str):
            yield ("guardrails", position, "metric"), guardrail["metric"]
    for position, name in enumerate(_list(table, "goals")):
        if isinstance(name, str):
            yield ("goals", position), name


def rollouts_mistakes(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mistake]]:
    """Contradictions between rollouts: each with the name of the rollout that must change.

    Flags of the same key, slices of a layer that overlap, prerequisites that are not there or lead in a circle.
    """
    flags: dict[str, str] = {}
    for name, table in tables.items():
        key = _flag(name, table)
        if key in flags:
            message = f"is the flag of {flags[key]} too: each rollout needs a flag of its own"
            yield name, Mistake(location=("flag",), value=key, message=message)
        flags.setdefault(key, name)
    yield from _overlaps(tables)
    yield from _prerequisites(tables, flags)


def _overlaps(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mistake]]:
    taken: dict[str, list[tuple[float, float, str]]] = {}
    for name, table in tables.items():
        layer, ends = table.get("layer"), _list(table, "slice")
        if not isinstance(layer, str) or len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
            continue
        low, high = float(ends[0]), float(ends[1])
        for other_low, other_high, other in taken.get(layer, []):
            if low < other_high and other_low < high:
                message = (
                    f"overlaps [{other_low:g}, {other_high:g}] of {other} in layer {layer}: they would share units"
                )
                yield name, Mistake(location=("slice",), value=list(ends), message=message)
                break
        taken.setdefault(layer, []).append((low, high, name))


def _prerequisites(tables: Mapping[str, Mapping[str, Any]], flags: Mapping[str, str]) -> Iterator[tuple[str, Mistake]]:
    builds_on: dict[str, list[str]] = {name: [] for name in tables}
    for name, table in tables.items():
        for position, entry in enumerate(_list(table, "prerequisites")):
            key = entry.get("flag") if isinstance(entry, Mapping) else None
            if not isinstance(key, str):
                continue
            location: Location = ("prerequisites", position, "flag")
            if key not in flags:
                nearest = nearest_name(key, flags)
                yield name, Mistake(location=location, value=key, message="is no rollout's flag", nearest=nearest)
                continue
            builds_on[name].append(flags[key])
            wanted = entry.get("variant", "treatment")
            arms = [arm.get("name") for arm in _list(tables[flags[key]], "arms") if isinstance(arm, Mapping)]
            known = list(map(str, arms)) or ["treatment", "control"]
            if isinstance(wanted, str) and wanted not in known:
                message = f"is no arm of {flags[key]} ({', '.join(known)})"
                place = ("prerequisites", position, "variant")
                yield name, Mistake(location=place, value=wanted, message=message, nearest=nearest_name(wanted, known))
    for name in tables:
        circle = _circle(name, builds_on)
        if circle:
            message = f"lead in a circle: {' -> '.join(circle)}"
            yield name, Mistake(location=("prerequisites",), value=None, message=message)


def _circle(start: str, builds_on: Mapping[str, list[str]]) -> list[str]:
    """A way from a rollout back to itself, empty where there is none."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop()
        for other in builds_on[way[-1]]:
            if other == start:
                return [*way, other]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


def _flag(name: str, table: Mapping[str, Any]) -> str:
    key = table.get("flag")
    return key if isinstance(key, str) and key else name


def _list(table: Mapping[str, Any], key: str) -> list[Any]:
    found = table.get(key)
    return list(found) if isinstance(found, list | tuple) else []
