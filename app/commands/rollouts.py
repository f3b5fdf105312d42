"""`rampwise rollout`: what rollouts there are, where they stand and why."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands import advising, conducting
from app.commands.session import (
    WRONG_USAGE,
    Output,
    OutputFormat,
    columns,
    emit,
    emit_json,
    emit_text,
    opened_warehouse,
    say,
    session,
)

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.definitions.loader import Definitions

group = typer.Typer(
    no_args_is_help=True, help="Release step by step behind a flag, judged at every step and taken back on harm."
)
Name = Annotated[str, typer.Argument(help="Name of the rollout.")]
STRATEGIES = ("canary", "ab_test", "rolling", "blue_green", "recreate")


@group.command()
def new(
    context: typer.Context,
    name: Name,
    strategy: Annotated[str, typer.Option("--strategy", help=f"One of {', '.join(STRATEGIES)}.")] = "canary",
) -> None:
    """Write a commented plan to rollouts/NAME.toml; overwrites nothing."""
    from pipelines.definitions.definition import NAME_PATTERN
    from pipelines.definitions.loader import load_definitions
    from pipelines.definitions.problems import NAME_RULE, slug
    from pipelines.rollouts.templates import rollout_template

    if strategy not in STRATEGIES:
        raise typer.BadParameter(f"{strategy!r} is none of {', '.join(STRATEGIES)}.", param_hint="--strategy")
    if not re.match(NAME_PATTERN, name):
        near = slug(name)
        hint = "" if near is None else f" Did you mean {near!r}?"
        say(f"Error: {name!r} cannot be a rollout's name: it {NAME_RULE}. Nothing was written.{hint}")
        raise typer.Exit(WRONG_USAGE)
    workspace = session(context).workspace
    target = workspace.root / "rollouts" / f"{name}.toml"
    if target.exists():
        say(f"Error: {target} exists already; nothing was changed.")
        raise typer.Exit(WRONG_USAGE)
    metrics = sorted(load_definitions(workspace.root).metrics.values(), key=lambda each: each.better != "lower")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(rollout_template(strategy, metric=metrics[0].name if metrics else "errors"), encoding="utf-8")
    emit(str(target))
    say(f"Edit it, then `rampwise rollout validate {name}` and `rampwise rollout start {name}`.")


@group.command()
def validate(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Name of a rollout; all if none.", metavar="[NAME]")] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Check the plans of rollouts; exit code 2 if one cannot be kept."""
    from pipelines.definitions.loader import find_problems, load_definitions

    workspace = session(context).workspace
    prefix = "rollouts/" if name is None else f"rollouts/{name}."
    problems = [each for each in find_problems(workspace.root) if each.file.startswith(prefix)]
    if name is not None and not problems:
        load_definitions(workspace.root).rollout(name)
    if output is OutputFormat.JSON:
        emit_json({"valid": not problems, "problems": [str(each) for each in problems]})
    else:
        for problem in problems:
            say(str(problem))
        if not problems:
            emit("Valid.")
    if problems:
        raise typer.Exit(WRONG_USAGE)


@group.command()
def status(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Name of a rollout; all if none.", metavar="[NAME]")] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Say where rollouts stand, what they wait for, and what their guardrails say."""
    from pipelines.definitions.loader import load_definitions
    from pipelines.rollouts.overview import overviews

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    found = overviews(workspace, definitions, now=datetime.now(UTC))
    if name is not None:
        found = tuple(each for each in found if each.name == name)
        if not found:
            definitions.rollout(name)
    if output is OutputFormat.JSON:
        emit_json({"rollouts": [each.as_dict() for each in found]})
        return
    if not found:
        say("No rollout is defined. `rampwise rollout new NAME` writes a plan.")
        return
    emit_text(columns([("ROLLOUT", "PHASE", "STAGE", "SERVED", "WAITS FOR"), *(each.cells() for each in found)]))
    for each in found if name is not None else ():
        for line in each.guardrail_lines():
            emit(f"  {line}")


@group.command()
def history(context: typer.Context, name: Name, output: Output = OutputFormat.TEXT) -> None:
    """Print the log of a rollout: what happened, who did it and why, oldest first."""
    from pipelines.rollouts.log import RolloutLog

    workspace = session(context).workspace
    with RolloutLog(workspace.state_path) as log:
        lines = log.lines(name)
    if output is OutputFormat.JSON:
        emit_json(
            {
                "lines": [
                    {
                        "sequence": line.sequence,
                        "at": line.at.isoformat(),
                        "happening": str(line.happening),
                        "actor": line.actor,
                        "code": line.code,
                        "reason": line.reason,
                        "details": dict(line.details),
                    }
                    for line in lines
                ]
            }
        )
    elif lines:
        emit_text(
            columns([(f"{line.at:%Y-%m-%d %H:%M}", str(line.happening), line.actor, line.reason) for line in lines])
        )
    else:
        say(f"{name} was never started.")


@group.command()
def explain(context: typer.Context, name: Name, output: Output = OutputFormat.TEXT) -> None:
    """Ask every rule by itself, in order: why it does not go on, and what would come next. Changes nothing."""
    from pipelines.definitions.loader import load_definitions
    from pipelines.rollouts.control import frozen
    from pipelines.rollouts.decide import explain as ask
    from pipelines.rollouts.deployments import marks
    from pipelines.rollouts.log import RolloutLog
    from pipelines.rollouts.tick import read_evidence

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    with RolloutLog(workspace.state_path) as log:
        state, lines = log.state(name), log.lines(name)
    if state.definition is None:
        definitions.rollout(name)
        say(f"{name} was never started: `rampwise rollout start {name}`.")
        return
    evidence = read_evidence(
        frozen(state),
        state,
        lines,
        definitions.metrics,
        opener=lambda: opened_warehouse(workspace, read_only=True),
        now=datetime.now(UTC),
        deployed=marks(workspace.state_path, name),
    )
    found = ask(frozen(state), state, evidence)
    if output is OutputFormat.JSON:
        rules: list[dict[str, Any]] = [
            {"rule": rule, "speaks": said is not None, "code": said and said.code, "reason": said and said.reason}
            for rule, said in found
        ]
        emit_json({"rollout": name, "phase": str(state.phase), "rules": rules, "evidence": evidence.as_dict()})
        return
    decided = False
    for rule, said in found[:-1]:
        mark = "ok" if said is None else "then" if decided else "NOW"
        emit(f"{mark:>4}  {rule}{'' if said is None else ': ' + said.reason}")
        decided = decided or said is not None


@group.command()
def tick(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Name of a rollout; all that are under way if none.", metavar="[NAME]")
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Judge rollouts once: read the data, decide, log, publish. Run it as often as you like, for example hourly."""
    from pipelines.access.actors import local_actor
    from pipelines.definitions.loader import load_definitions
    from pipelines.rollouts.log import RolloutLog
    from pipelines.rollouts.tick import tick_all

    workspace = session(context).workspace
    definitions = _definitions(workspace)
    if name is not None:
        with RolloutLog(workspace.state_path) as log:
            if log.state(name).definition is None:
                load_definitions(workspace.root).rollout(name)
    done, problems = tick_all(
        workspace,
        definitions,
        None if name is None else (name,),
        opener=lambda: opened_warehouse(workspace, read_only=True),
        actor=local_actor(),
        now=datetime.now(UTC),
    )
    if output is OutputFormat.JSON:
        emit_json({"ticks": [each.as_dict() for each in done], "problems": problems})
    else:
        for each in done:
            said = ", ".join(str(word).replace("_", " ") for word in each.said) or "nothing new"
            emit(f"{each.after.rollout}: {each.after.phase}; {said}. {each.decision.reason}")
        if not done and not problems:
            say("No rollout is under way.")
    for problem in problems.values():
        say(problem)


def _definitions(workspace: Workspace) -> Definitions:
    """The definitions; none where they hold mistakes, which must not keep a rollout from being judged."""
    from pipelines.definitions.loader import NOTHING, load_definitions
    from pipelines.definitions.problems import DefinitionError

    try:
        return load_definitions(workspace.root)
    except DefinitionError as error:
        say(f"Judging by what was frozen at the start: {len(error.problems)} mistakes in the definitions.")
        return NOTHING


for command in (
    conducting.start,
    conducting.relaunch,
    conducting.approve,
    conducting.pause,
    conducting.resume,
    conducting.advance,
    conducting.kill,
    advising.simulate,
    advising.advise,
):
    group.command()(command)
