"""`rampwise plan`: whether an experiment's plan can be kept, what it needs, and what would help."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.power import DesignName, Looks
from app.commands.power_options import numbers, refuse
from app.commands.session import Output, OutputFormat, emit, emit_json, emit_text, refusing, say, session

if TYPE_CHECKING:
    from pipelines.config import Workspace
    from pipelines.definitions.metrics import Metric
    from stats.baseline import Baseline
    from stats.enrolment import Enrolment
    from stats.plan import Plan


MOST_LOOKS = 1000


def plan(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    *,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="METRIC=RATE or METRIC=MEAN:SD in control; for metrics that no stored result knows."),
    ] = None,
    daily: Annotated[
        str | None,
        typer.Option(help="New units per day over all arms, or 1200,1100,1000 for the first days; else from results."),
    ] = None,
    design: Annotated[DesignName | None, typer.Option(help="Another design than the plan's, to compare.")] = None,
    looks: Looks = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Check an experiment's plan: units and days it needs, the price of peeking, what each week finds, what would help.

    Baselines come from the latest results of any experiment with the metric, or from `--baseline`.
    """
    from dataclasses import replace

    from app.commands.planning_text import answer_text
    from pipelines.definitions.loader import load_definitions
    from pipelines.definitions.plans import experiment_plan
    from pipelines.reports.planning import answer_plan, answer_record
    from stats.plan import Design

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    defined = definitions.experiment(experiment)
    with refusing():
        planned = experiment_plan(defined, definitions.metrics)
        if design is not None:
            chosen = Design(design.value)
            if chosen not in (Design.GROUP_SEQUENTIAL, Design.AUTO):  # only that design gives up
                planned = replace(planned, futility=None, binding=False)
            planned = replace(planned, design=chosen)
        if looks is not None:
            planned = _looking(planned, numbers(looks))
        names = [*defined.success, *(guardrail.metric for guardrail in defined.guardrails)]
        told = _told(baseline or [], definitions.metrics, names)
        known, sources = _baselines(workspace, experiment, names, told)
        _all_known(names, known, definitions.metrics)
        enrolment = _traffic(daily) if daily is not None else _entered(workspace, experiment)
        answer = answer_plan(planned, known, enrolment)
    if output is OutputFormat.JSON:
        emit_json({"experiment": experiment, **answer_record(answer), "sources": sources})
        return
    emit(f"{defined.screen_title} ({experiment})")
    emit_text(answer_text(answer))
    for name, source in sources.items():
        say(f"{name}: {source}.")
    if enrolment is None:
        say("No traffic is known yet: give --daily to see days and weeks.")


def _all_known(names: list[str], known: dict[str, Baseline], metrics: dict[str, Metric]) -> None:
    """Refuse to plan with metrics of which nothing is known, and say how to tell it."""
    missing = [name for name in names if name not in known]
    if missing:
        told = " ".join(f"--baseline {_form(name, metrics[name])}" for name in missing)
        reason = f"no stored result knows control's {', '.join(missing)}; tell what is expected, as in {told}"
        refuse("--baseline", None, f"{reason} (a rate, or mean and standard deviation).")


def _form(name: str, metric: Metric) -> str:
    """How a metric's baseline is told."""
    return f"{name}=0.12" if metric.kind == "proportion" else f"{name}=25.0:60.0"


def _looking(planned: Plan, asked: tuple[float, ...]) -> Plan:
    """The plan with a number of even looks up to its end, or with looks on these days."""
    from dataclasses import replace

    from stats.plan import Design, PlanError
    from stats.plan_price import with_end

    if len(asked) > 1 or asked[0] != int(asked[0] if math.isfinite(asked[0]) else 0):
        return replace(planned, looks=asked)
    count = int(asked[0])
    if not 1 <= count <= MOST_LOOKS:
        raise PlanError("looks", count, f"between 1 and {MOST_LOOKS} looks can be planned")
    if planned.end is None:
        raise PlanError("looks", count, "a number of looks is counted up to a planned end, and this plan has none")
    if planned.design is Design.FIXED and count > 1:
        raise PlanError("looks", count, "a fixed design is judged once, at its end: give --design too")
    return with_end(planned, planned.end, looks=count)


def _traffic(daily: str) -> Enrolment:
    """How units arrive, from one number per day or from the first days' numbers."""
    from stats.enrolment import Enrolment
    from stats.plan import PlanError

    units = numbers(daily)
    if not all(0 <= each < math.inf for each in units) or not sum(units) > 0:
        raise PlanError("daily", daily, "is no positive number of units per day, nor a list such as 1200,1100,1000")
    return Enrolment.linear(units[0]) if len(units) == 1 else Enrolment.from_daily(units)


def _told(given: list[str], metrics: dict[str, Metric], names: list[str]) -> dict[str, Baseline]:
    """Baselines from the command line: ``metric=rate`` or ``metric=mean:sd``."""
    from stats.baseline import Baseline
    from stats.plan import PlanError

    told = {}
    for entry in given:
        name, _, numbers = entry.partition("=")
        if name not in names:
            raise PlanError("baseline", entry, f"starts with none of the plan's metrics ({', '.join(names)})")
        try:
            values = [float(part) for part in numbers.split(":")]
        except ValueError:
            values = []
        if metrics[name].kind == "proportion" and len(values) == 1:
            told[name] = Baseline.of_proportion(values[0])
        elif metrics[name].kind != "proportion" and len(values) == 2:
            told[name] = Baseline.of_mean(values[0], values[1])
        else:
            told_as = "a rate" if metrics[name].kind == "proportion" else "mean and standard deviation"
            raise PlanError("baseline", entry, f"is not of the form {_form(name, metrics[name])}, {told_as}")
    return told


def _baselines(
    workspace: Workspace, experiment: str, names: list[str], told: dict[str, Baseline]
) -> tuple[dict[str, Baseline], dict[str, str]]:
    """Baselines of all metrics and where each comes from: the command line first, then stored results."""
    from pipelines.formatting import count, date
    from pipelines.planning.past_looks import past_baselines
    from pipelines.store.state import State

    past: dict[str, Any] = {}
    if workspace.state_path.exists() and set(names) - told.keys():
        with State(workspace.state_path) as state:
            past = dict(past_baselines(state.latest_all(), prefer=experiment))
    known = {
        name: told[name] if name in told else past[name].baseline for name in names if name in told or name in past
    }
    sources = {
        name: "given"
        if name in told
        else f"{count(past[name].units)} control units of {past[name].experiment}, {date(past[name].analysed_at)}"
        for name in names
        if name in known
    }
    return known, sources


def _entered(workspace: Workspace, experiment: str) -> Enrolment | None:
    """How units have entered this experiment so far, from its own looks."""
    from pipelines.planning.past_looks import past_enrolment
    from pipelines.store.state import State

    if not workspace.state_path.exists():
        return None
    with State(workspace.state_path) as state:
        looks = [state.get(snapshot_id) for snapshot_id, _ in state.history(experiment)]
    return past_enrolment([look for look in looks if look is not None])
