"""`rampwise metrics presets` and `rampwise metrics add`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands.session import Output, OutputFormat, columns, emit, emit_json, emit_text, session

group = typer.Typer(help="Ready metrics: list them and add them to the workspace.", no_args_is_help=True)


@group.command("presets")
def list_presets(output: Output = OutputFormat.TEXT) -> None:
    """List the metrics that come with rampwise."""
    from pipelines.definitions.metrics import metric_events
    from pipelines.definitions.presets import presets

    found = presets()
    if output is OutputFormat.JSON:
        emit_json([metric.model_dump(mode="json", exclude_defaults=True) for metric in found.values()])
        return
    rows = [("PRESET", "KIND", "EVENTS", "DESCRIPTION")]
    rows += [(name, each.kind, ", ".join(metric_events(each)), each.description) for name, each in found.items()]
    emit_text(columns(rows))


@group.command("add")
def add(
    context: typer.Context,
    preset: Annotated[str, typer.Argument(help="Name of the preset.")],
    name: Annotated[str | None, typer.Option(help="Name of the metric; the preset's if none.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(help="Your event in place of the preset's: NAME, or PRESETS=NAME where it reads several."),
    ] = None,
) -> None:
    """Write a preset to `metrics/`, to be edited there. Overwrites nothing."""
    from pipelines.definitions.presets import add_preset

    events: dict[str | None, str] = {}
    for each in event or ():
        theirs, given, ours = each.partition("=")
        events[theirs if given else None] = ours if given else theirs
    root = session(context).workspace.root
    path = add_preset(root, preset, name=name, events=events)
    emit(f"Wrote {path.relative_to(root).as_posix()}. Next: name it in an experiment, then `rampwise validate`.")
