"""`rampwise power`: how many units, or what a number of units finds."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from app.commands.power_options import (
    guardrails_of,
    option_of,
    parts,
    refuse,
    shares_of,
    timing_of,
    told_as,
)
from app.commands.session import (
    FAILED,
    Output,
    OutputFormat,
    emit_json,
    emit_text,
    opened_warehouse,
    refusing,
    say,
    session,
)

if TYPE_CHECKING:
    from app.planning.question import Question
    from pipelines.planning.history import History
    from pipelines.reports.planning import PlanAnswer


class DesignName(StrEnum):
    """How results may be looked at."""

    FIXED = "fixed"
    GROUP_SEQUENTIAL = "group_sequential"
    ALWAYS_VALID = "always_valid"
    AUTO = "auto"


class FutilityName(StrEnum):
    """How a group-sequential design gives up."""

    LATE = "lan_demets_obrien_fleming"
    EVEN = "lan_demets_pocock"


class Direction(StrEnum):
    """In which direction a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"


class Convention(StrEnum):
    """Variance of a proportion under the null hypothesis."""

    UNPOOLED = "unpooled"
    POOLED = "pooled"
    EVAN_MILLER = "evan_miller"
    ARCSINE = "arcsine"


Better: TypeAlias = Annotated[Direction, typer.Option(help="With --margin: in which direction the metric improves.")]
Formula: TypeAlias = Annotated[Convention, typer.Option(help="Formula for rates; others for comparison.")]
Share: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Control's share of the units, or those of all arms: 0.5,0.3,0.2. Equal unless given."),
]
Looks: TypeAlias = Annotated[
    str | None, typer.Option(help="Number of even looks up to the end, or their days: 7,14,21. Daily unless given.")
]
Guards: TypeAlias = Annotated[
    str, typer.Option(help="Guardrails that must pass too, sharing beta: a number, or page_load_time=0.05,refunds=0.1.")
]
Saved: TypeAlias = Annotated[
    str,
    typer.Option("--save", help="Write the plan to experiments/NAME.toml of the workspace; needs the metrics' names."),
]

Rate: TypeAlias = Annotated[
    float | None, typer.Option(help="Control's conversion rate, 0.10 for 10 %; with --sd its mean.")
]
Effect: TypeAlias = Annotated[
    float | None, typer.Option(help="Smallest change to find: 0.05 is +5 % of the baseline, -0.05 is -5 %.")
]
Margin: TypeAlias = Annotated[
    float | None, typer.Option(help="Instead of --effect: the harm to exclude (non-inferiority), 0.02 for 2 %.")
]
Past: TypeAlias = Annotated[
    str, typer.Option("--from", help="Instead of --baseline: a past experiment whose events give baseline and traffic.")
]
PastMetric: TypeAlias = Annotated[
    str, typer.Option(help="Name of the metric, of any kind with --from; several with commas between them share alpha.")
]


Absolute: TypeAlias = Annotated[
    bool, typer.Option("--absolute", help="The effect or margin is a difference, not a share of the baseline.")
]
Daily: TypeAlias = Annotated[
    str | None, typer.Option(help="New units per day over all arms; or 1200,1100,1000 for the first days.")
]
Reserve: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Share of alpha kept for looks after the planned end; 0.1 if there are looks before."),
]


Futility: TypeAlias = Annotated[
    FutilityName | None,
    typer.Option(help="Give up before the end where the effect will hardly be found: hardly early on, or evenly."),
]
Binding: TypeAlias = Annotated[
    bool, typer.Option("--binding", help="With --futility: what was given up stays given up; the bounds count on it.")
]


def power(
    context: typer.Context,
    baseline: Rate = None,
    effect: Effect = None,
    margin: Margin = None,
    *,
    past: Past = "",
    metric: PastMetric = "",
    sd: Annotated[float | None, typer.Option(help="Standard deviation per unit; makes the baseline a mean.")] = None,
    absolute: Absolute = False,
    better: Better = Direction.HIGHER,
    units: Annotated[float | None, typer.Option(help="Also say what this many units over all arms find.")] = None,
    daily: Daily = None,
    days: Annotated[float | None, typer.Option(help="Planned end; as long as it takes unless given.")] = None,
    looks: Looks = None,
    design: Annotated[DesignName, typer.Option(help="How results may be looked at.")] = DesignName.FIXED,
    reserve: Reserve = None,
    futility: Futility = None,
    binding: Binding = False,
    alpha: Annotated[float, typer.Option(help="Two-sided false-positive rate of the whole experiment.")] = 0.05,
    wanted: Annotated[float, typer.Option("--power", help="Chance of finding the effect if it is there.")] = 0.8,
    treatments: Annotated[int, typer.Option(help="Treatments beside control.")] = 1,
    control_share: Share = None,
    success_metrics: Annotated[int, typer.Option(help="Success metrics that share alpha.")] = 1,
    guardrails: Guards = "0",
    correlation: Annotated[float, typer.Option(help="Correlation with the covariate that is adjusted for.")] = 0.0,
    cluster_size: Annotated[float, typer.Option(help="Mean units per cluster, if clusters are randomised.")] = 1.0,
    icc: Annotated[float, typer.Option(help="Correlation of units in the same cluster.")] = 0.0,
    cluster_cv: Annotated[float, typer.Option(help="Spread of the cluster sizes over their mean.")] = 0.0,
    convention: Formula = Convention.UNPOOLED,
    save: Saved = "",
    output: Output = OutputFormat.TEXT,
) -> None:
    """Size an experiment: units, days, the price of peeking, and what each week finds."""
    from app.planning.question import Question

    metrics, named = parts(metric), guardrails_of(guardrails)
    given = {
        **_aim(effect, margin, better),
        **_known(context, past, metrics, baseline, sd),
        **shares_of(control_share, treatments),
        **timing_of(looks, daily),
    }
    given |= {"futility": None if futility is None else futility.value, "binding": binding}
    given |= {"correlation": correlation, "cluster_size": cluster_size, "icc": icc, "cluster_cv": cluster_cv}
    question = Question(
        relative=not absolute,
        alpha=alpha,
        power=wanted,
        success_metrics=max(len(metrics), success_metrics) if success_metrics > 0 else success_metrics,
        guardrails=named if isinstance(named, int) else len(named),
        design=design.value,
        end=days,
        reserve=reserve,
        convention=convention.value,
        **given,
    )
    answer = _answer(question)
    _save(context, question, answer, name=save, metrics=metrics, guardrails=named)
    _report(answer, units=units, output=output)


def _answer(question: Question) -> PlanAnswer:
    """The answer, or a refusal with the option and the reason."""
    from app.planning.answers import field_of, plan_answer, problems
    from stats.plan import PlanError

    for field, reason in problems(question).items():
        refuse(option_of(field, question), told_as(field, question), reason)
    with refusing():
        try:
            return plan_answer(question)
        except PlanError as error:
            field = field_of(error)
            refuse(option_of(field, question), error.value, f"{error.reason[:1].upper()}{error.reason[1:]}.")


def _aim(effect: float | None, margin: float | None, better: Direction) -> dict[str, Any]:
    """What the experiment shall find, or which harm it shall exclude."""
    if effect is not None and margin is None:
        return {"goal": "improve", "effect": effect, "better": better.value}
    if margin is None or effect is not None:
        refuse("--effect", effect, "Give either --effect or --margin.")
    return {"goal": "protect", "effect": margin, "better": better.value}


def _known(
    context: typer.Context, past: str, metrics: list[str], baseline: float | None, sd: float | None
) -> dict[str, Any]:
    """The metric in control and how units arrive: as told, or as a past experiment's events have it."""
    told = {"name": "".join(metrics[:1])}
    if past and baseline is not None:
        refuse("--from", past, "Give either --baseline or --from with --metric.")
    if baseline is not None:
        return told | {"baseline": baseline, **({} if sd is None else {"kind": "mean", "sd": sd})}
    if not past:
        refuse("--baseline", None, "Give --baseline, or --from EXPERIMENT with --metric METRIC.")
    if not metrics or sd is not None:
        refuse("--metric", None, "--from needs --metric, which gives the mean and the standard deviation.")
    found = _history(context, past, metrics[0])
    kind = "mean" if found.kind == "count" else found.kind
    return told | {"kind": kind, "baseline": found.baseline.mean, "sd": found.baseline.sd, "daily": found.daily}


def _save(
    context: typer.Context,
    question: Question,
    answer: PlanAnswer,
    *,
    name: str,
    metrics: list[str],
    guardrails: int | tuple[tuple[str, float], ...],
) -> None:
    """Write the plan as an experiment's file, if it shall have a name; nothing is ever overwritten."""
    from datetime import UTC, datetime

    from app.planning.naming import NamesError, named_plan, plan_file
    from pipelines.definitions.definition import NAME_PATTERN
    from pipelines.definitions.problems import NAME_RULE
    from pipelines.planning.experiment_file import PlanFileError
    from stats.plan import PlanError

    if not name:
        return
    if not re.match(NAME_PATTERN, name):
        refuse("--save", name, f"an experiment's name {NAME_RULE}.")
    protect, margins = question.goal == "protect", () if isinstance(guardrails, int) else guardrails
    try:
        plan = named_plan(
            question,
            answer.plan,
            success=() if protect else metrics,
            guardrails=tuple((each, question.effect) for each in metrics) if protect else margins,
        )
        text = plan_file(plan, answer, name=name, now=datetime.now(UTC))
    except (NamesError, PlanFileError, PlanError) as error:
        refuse("--save", name, f"{error} Names come from --metric and --guardrails NAME=MARGIN.")
    path = session(context).workspace.experiments_dir / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        say(f"Error: {path} is there already: choose another name, or delete it.")
        raise typer.Exit(FAILED) from None
    say(f"Wrote {path}: set its start, then run `rampwise validate`.")


def _history(context: typer.Context, experiment: str, metric: str) -> History:
    from datetime import UTC, datetime

    from pipelines.definitions.loader import load_definitions
    from pipelines.formatting import count, number, percent
    from pipelines.planning.history import read_history

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    with opened_warehouse(workspace, read_only=True) as warehouse:
        found = read_history(warehouse, definitions, experiment=experiment, metric=metric, now=datetime.now(UTC))
    known = found.baseline
    say(
        f"{metric} in {experiment}: {number(known.mean)} with standard deviation {number(known.sd)} over "
        f"{count(found.units)} units of control; {count(sum(found.daily))} units entered on "
        f"{len(found.daily)} full days."
    )
    if found.covariate_units:
        fewer = percent(found.correlation**2, places=0)
        say(
            f"Its correlation with the {found.covariate_days:g} days before exposure is {found.correlation:.2f}: an "
            f"analysis that adjusts for them (--correlation) needs {fewer} fewer units."
        )
    return found


def _report(answer: PlanAnswer, *, units: float | None, output: OutputFormat) -> None:
    from app.commands.planning_text import answer_text, reach_text
    from pipelines.reports.planning import answer_record, reach_record

    if units is not None and not 0 < units < math.inf:
        refuse("--units", f"{units:g}", "Enter a positive number of units over all arms.")
    reach = None if units is None else reach_record(answer, units)
    if output is OutputFormat.JSON:
        emit_json({**answer_record(answer), "reach": reach})
        return
    emit_text(answer_text(answer))
    if units is not None:
        emit_text("\n" + reach_text(answer, units))
