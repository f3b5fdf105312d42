"""Metrics that most teams want, ready to be added to a workspace and edited there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from pipelines.definitions.loader import UnknownNameError
from pipelines.definitions.metrics import Metric, metric_events
from pipelines.definitions.problems import nearest_name, toml_value
from pipelines.errors import UsageError

FOLDER = Path(__file__).parent
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
_METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)


class PresetError(UsageError):
    """A preset cannot be added as asked.

    Attributes
    ----------
    found
        The name, event or path that is to blame.
    """

    def __init__(self, found: str, message: str) -> None:
        self.found = found
        super().__init__(message)


def presets() -> dict[str, Metric]:
    """All presets by name, in the order of their names."""
    return {
        path.stem: _METRIC.validate_python({"name": path.stem, **tomllib.loads(path.read_text(encoding="utf-8"))})
        for path in sorted(FOLDER.glob("*.toml"))
    }


def add_preset(
    root: Path, preset: str, *, name: str | None = None, events: Mapping[str | None, str] | None = None
) -> Path:
    """Write a preset to `metrics/<name>.toml` of a workspace; overwrites nothing.

    Parameters
    ----------
    name
        The metric's name; the preset's unless given.
    events
        The preset's event -> yours. The key None stands for the only event of a preset that reads one.

    Raises
    ------
    UnknownNameError
        If there is no such preset.
    PresetError
        If the name cannot be used or is taken, or the preset does not read an event that is to be replaced.
    """
    known = presets()
    if preset not in known:
        raise UnknownNameError("preset", preset, known)
    chosen = name or preset
    if not _NAME.match(chosen):
        raise PresetError(
            chosen, f"{chosen!r} cannot be a metric's name: it starts with a-z and holds only a-z, 0-9 and _."
        )
    taken = next((root / "metrics").rglob(f"{chosen}.toml"), None)
    if taken is not None:
        where = taken.relative_to(root).as_posix()
        raise PresetError(where, f"{where} exists already; nothing was changed. Choose another with --name.")
    text = (FOLDER / f"{preset}.toml").read_text(encoding="utf-8")
    replaced = _renamed(known[preset], events or {})

    def spelled(found: re.Match[str]) -> str:
        return f"{found[1]}{toml_value(replaced.get(found[2], found[2]), longest=None)}"

    path = root / "metrics" / f"{chosen}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(re.sub(r'^(event = )"([^"]*)"', spelled, text, flags=re.MULTILINE))
    return path


def _renamed(metric: Metric, events: Mapping[str | None, str]) -> dict[str, str]:
    """Your event by the preset's."""
    known = metric_events(metric)
    reads = " and ".join(known)
    replaced: dict[str, str] = {}
    for theirs, ours in events.items():
        if theirs is None and len(known) > 1:
            message = f"{metric.name} reads {reads}: say which one {ours!r} stands for, for example {known[0]}={ours}."
            raise PresetError(ours, message)
        event = known[0] if theirs is None else theirs
        if event not in known:
            near = nearest_name(event, known)
            raise PresetError(event, f"{metric.name} reads {reads}, not {event!r}. Write {near or known[0]}={ours}.")
        if not ours:
            raise PresetError(event, f"No event is given for {event}. Write {event}=NAME.")
        replaced[event] = ours
    return replaced
