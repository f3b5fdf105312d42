"""`rampwise power`: how many units, or what a number of units finds."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from app.commands.session import Output, OutputFormat, emit, emit_json, opened_warehouse, refusing, say, session

if TYPE_CHECKING:
    from pipelines.planning.history import History
    from pipelines.reports.planning import PlanAnswer
    from stats.baseline import Baseline
    from stats.enrolment import Enrolment
    from stats.plan import Plan


class DesignName(StrEnum):
    """How results may be looked at."""

    FIXED = "fixed"
    GROUP_SEQUENTIAL = "group_sequential"
    ALWAYS_VALID = "always_valid"
    AUTO = "auto"


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
    float | None, typer.Option(help="Control's share of the units; all arms are equal unless given.")
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
PastMetric: TypeAlias = Annotated[str, typer.Option(help="With --from: the metric, of any kind.")]


def power(
    context: typer.Context,
    baseline: Rate = None,
    effect: Effect = None,
    margin: Margin = None,
    *,
    past: Past = "",
    metric: PastMetric = "",
    sd: Annotated[float | None, typer.Option(help="Standard deviation per unit; makes the baseline a mean.")] = None,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="The effect or margin is a difference, not a share of the baseline.")
    ] = False,
    better: Better = Direction.HIGHER,
    units: Annotated[float | None, typer.Option(help="Also say what this many units over all arms find.")] = None,
    daily: Annotated[
        str | None, typer.Option(help="New units per day over all arms; or 1200,1100,1000 for the first days.")
    ] = None,
    days: Annotated[float | None, typer.Option(help="Planned end; as long as it takes unless given.")] = None,
    looks: Annotated[int | None, typer.Option(help="Number of even looks up to the end; daily unless given.")] = None,
    design: Annotated[DesignName, typer.Option(help="How results may be looked at.")] = DesignName.FIXED,
    alpha: Annotated[float, typer.Option(help="Two-sided false-positive rate of the whole experiment.")] = 0.05,
    wanted: Annotated[float, typer.Option("--power", help="Chance of finding the effect if it is there.")] = 0.8,
    treatments: Annotated[int, typer.Option(help="Treatments beside control.")] = 1,
    control_share: Share = None,
    success_metrics: Annotated[int, typer.Option(help="Success metrics that share alpha.")] = 1,
    guardrails: Annotated[int, typer.Option(help="Guardrails that must pass too, so that power is shared.")] = 0,
    correlation: Annotated[float, typer.Option(help="Correlation with the covariate that is adjusted for.")] = 0.0,
    cluster_size: Annotated[float, typer.Option(help="Mean units per cluster, if clusters are randomised.")] = 1.0,
    icc: Annotated[float, typer.Option(help="Correlation of units in the same cluster.")] = 0.0,
    cluster_cv: Annotated[float, typer.Option(help="Spread of the cluster sizes over their mean.")] = 0.0,
    convention: Formula = Convention.UNPOOLED,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Size an experiment: units, days, the price of peeking, and what each week finds."""
    with refusing():
        from stats.plan import PlanError
        from stats.sample_size import design_effect

        if (effect is None) == (margin is None):
            raise PlanError("effect", effect, "give either --effect or --margin")
        known, enrolment = _known(context, (past, metric), baseline, sd, daily, convention.value)
        known = known.adjusted(correlation).clustered(float(design_effect(cluster_size, icc, cv=cluster_cv)))
        plan = _plan(
            name=metric or ("the rate" if sd is None else "the mean"),
            effect=effect,
            margin=margin,
            better=better.value,
            relative=not absolute,
            alpha=alpha,
            power=wanted,
            arms=_arms(treatments, control_share),
            counts=(success_metrics, guardrails),
            design=design.value,
            end=days,
        )
        _report(plan, known, enrolment, days=days, looks=looks, units=units, output=output)


def _known(
    context: typer.Context,
    history: tuple[str, str],
    baseline: float | None,
    sd: float | None,
    daily: str | None,
    convention: str,
) -> tuple[Baseline, Enrolment | None]:
    """The metric in control and how units arrive: as told, or as a past experiment's events have it."""
    from dataclasses import replace

    from stats.plan import PlanError

    experiment, metric = history
    if not experiment and baseline is None:
        raise PlanError("baseline", None, "give --baseline, or --from EXPERIMENT with --metric METRIC")
    if baseline is not None:
        if experiment or metric:
            raise PlanError("from", experiment, "give either --baseline or --from with --metric")
        return _baseline(baseline, sd, convention), traffic(daily)
    if not metric or sd is not None:
        raise PlanError("metric", metric, "--from needs --metric, which gives the mean and the standard deviation")
    found = _history(context, experiment, metric)
    return replace(found.baseline, convention=convention), traffic(daily) or found.enrolment


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


def traffic(daily: str | None) -> Enrolment | None:
    """How units arrive, from one number per day or from the first days' numbers."""
    from stats.enrolment import Enrolment
    from stats.plan import PlanError

    if daily is None:
        return None
    try:
        numbers = [float(part) for part in daily.replace("_", "").split(",")]
    except ValueError:
        raise PlanError("daily", daily, "is no number of units per day, nor a list such as 1200,1100,1000") from None
    if len(numbers) > 1:
        return Enrolment.from_daily(numbers)
    return Enrolment.linear(numbers[0])


def _baseline(mean: float, sd: float | None, convention: str) -> Baseline:
    from dataclasses import replace

    from stats.baseline import Baseline

    known = Baseline.of_proportion(mean) if sd is None else Baseline.of_mean(mean, sd)
    return replace(known, convention=convention)


def _arms(treatments: int, control_share: float | None) -> dict[str, float]:
    from stats.plan import PlanError

    if not 1 <= treatments <= 100:
        raise PlanError("treatments", treatments, "between 1 and 100 treatments can be compared with control")
    share = 1 / (treatments + 1) if control_share is None else control_share
    if not 0 < share < 1:
        raise PlanError("control_share", share, "control's share lies between 0 and 1")
    names = ["treatment"] if treatments == 1 else [f"treatment {number}" for number in range(1, treatments + 1)]
    return {"control": share, **dict.fromkeys(names, (1 - share) / treatments)}


def _plan(
    *,
    name: str,
    effect: float | None,
    margin: float | None,
    better: str,
    relative: bool,
    alpha: float,
    power: float,
    arms: dict[str, float],
    counts: tuple[int, int],
    design: str,
    end: float | None,
) -> Plan:
    """One metric stands for all: the others share its alpha, and the guardrails its beta."""
    from stats.decision import error_rates
    from stats.plan import Arm, Design, Guardrail, Plan, PlanError, SuccessMetric
    from stats.plan_price import UNKNOWN_DAYS

    metrics, guardrails = counts
    if margin is None and metrics < 1:
        raise PlanError("success_metrics", metrics, "at least one success metric has to find the effect")
    each = error_rates(alpha=alpha, power=power, success_metrics=metrics, guardrails=guardrails).power_each
    shared: dict[str, Any] = {
        "alpha": alpha,
        "power": each,
        "relative": relative,
        "arms": tuple(Arm(name=arm, share=share) for arm, share in arms.items()),
        "design": Design(design),
        # Without a planned end one is found; an open end stays open.
        "end": UNKNOWN_DAYS if end is None and design in ("fixed", "group_sequential") else end,
    }
    if margin is not None:
        guard = (Guardrail(name=name, margin=margin, better=better, relative=relative),)
        return Plan(minimum_effect=abs(margin) or 1.0, guardrails=guard, **shared)
    change = 0.0 if effect is None else effect
    direction = "higher" if change >= 0 else "lower"
    names = [name, *(f"metric {number}" for number in range(2, metrics + 1))]
    success = tuple(SuccessMetric(name=each_name, better=direction) for each_name in names)
    return Plan(minimum_effect=abs(change), success=success, **shared)


def _report(
    plan: Plan,
    known: Baseline,
    enrolment: Enrolment | None,
    *,
    days: float | None,
    looks: int | None,
    units: float | None,
    output: OutputFormat,
) -> None:
    from app.commands.planning_text import answer_text, reach_text
    from pipelines.reports.planning import answer_plan, answer_record, reach_record
    from stats.plan import PlanError
    from stats.plan_price import UNKNOWN_DAYS, fitting_end, with_end

    baselines = {metric.name: known for metric in plan.success} | {guard.name: known for guard in plan.guardrails}
    if looks is not None and not 1 <= looks <= 1000:
        raise PlanError("looks", looks, "between 1 and 1000 looks can be planned")
    if plan.end is not None:
        end = fitting_end(plan, baselines, enrolment, looks=looks) if days is None else days
        plan = with_end(plan, end if end < float("inf") else UNKNOWN_DAYS, looks=looks)
    answer: PlanAnswer = answer_plan(plan, baselines, enrolment)
    reach = None if units is None else reach_record(answer, units)
    if output is OutputFormat.JSON:
        emit_json({**answer_record(answer), "reach": reach})
        return
    emit(answer_text(answer))
    if units is not None:
        emit("\n" + reach_text(answer, units))
