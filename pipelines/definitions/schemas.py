"""JSON Schemas of what people write, so that an editor completes keys and underlines mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pipelines.config import Settings
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.mappings.mapping import Mapping
from pipelines.definitions.metrics import Metric
from pipelines.definitions.reports import ReportSchedule
from pipelines.definitions.rollouts import Rollout

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KINDS = ("metric", "experiment", "report", "rollout", "mapping", "settings")


def editor_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of one kind of file.

    Parameters
    ----------
    kind
        ``"metric"``, ``"experiment"``, ``"report"``, ``"rollout"``, ``"mapping"`` or ``"settings"``.

    Notes
    -----
    `name` is optional there: a definition takes it from its file.
    """
    sources: dict[str, TypeAdapter[Any]] = {
        "metric": TypeAdapter(Metric),
        "experiment": TypeAdapter(Experiment),
        "report": TypeAdapter(ReportSchedule),
        "rollout": TypeAdapter(Rollout),
        "mapping": TypeAdapter(Mapping),
        "settings": TypeAdapter(Settings),
    }
    schema = sources[kind].json_schema()
    definitions = schema.get("$defs", {})
    named = [definitions[reference["$ref"].rsplit("/", 1)[1]] for reference in schema.get("oneOf", ())] or [schema]
    for table in named:
        if "name" in table.get("required", ()):
            table["required"].remove("name")
    return {"$schema": DIALECT, **schema, "title": f"rampwise {kind}"}


def write_schemas(folder: Path) -> None:
    """Write `<kind>.schema.json` of every kind into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        text = json.dumps(editor_schema(kind), indent=2, ensure_ascii=False) + "\n"
        (folder / f"{kind}.schema.json").write_text(text, encoding="utf-8")
