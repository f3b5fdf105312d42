"""`rampwise rollout simulate` and `rampwise rollout advise`: what a plan would do on your own traffic."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from app.commands.session import (
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
    from collections.abc import Sequence

    from pipelines.config import Workspace
    from pipelines.rollouts.simulation import Outcome
    from pipelines.rollouts.traffic import Traffic

Units: TypeAlias = Annotated[
    float | None, typer.Option("--units-per-hour", help="Units per hour, instead of what the warehouse holds.")
]
Rate: TypeAlias = Annotated[
    float | None, typer.Option("--rate", help="Share of them with the guardrail's event, instead of the warehouse's.")
]
Harm: TypeAlias = Annotated[float, typer.Option("--harm", min=1.01, help="How many times as frequent harm makes it.")]
Runs: TypeAlias = Annotated[int, typer.Option("--runs", min=10, max=5000, help="Simulated runs of each kind.")]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", help="The same seed gives the same runs.")]


def simulate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the rollout.")],
    *,
    units_per_hour: Units = None,
    rate: Rate = None,
    harm: Harm = 3.0,
    runs: Runs = 100,
    seed: Seed = 1,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Try a plan on your own traffic: false alarms, hours until harm is found, units harmed, hours to the end.

    The first guardrail that is a rate is what is watched.
    """
    import numpy as np

    from pipelines.definitions.loader import load_definitions
    from pipelines.rollouts.observe import is_rate
    from pipelines.rollouts.simulation import simulate as run

    workspace = session(context).workspace
    definitions = load_definitions(workspace.root)
    rollout = definitions.rollout(name)
    watched = next((each for each in rollout.guardrails if is_rate(definitions.metrics[each.metric])), None)
    if watched is None:
        raise typer.BadParameter(f"{name} has no guardrail that is a rate: there is nothing to simulate.")
    traffic = _traffic(workspace, definitions.metrics[watched.metric].event, units_per_hour, rate)  # type: ignore[union-attr]
    rng = np.random.default_rng(seed)
    outcomes = [
        run(rollout, traffic, ratio=ratio, tolerance=watched.tolerance, runs=runs, rng=rng) for ratio in (1.0, harm)
    ]
    _print(outcomes, traffic, output)


def advise(
    context: typer.Context,
    *,
    event: Annotated[str, typer.Option("--event", help="The event that must not get more frequent.")] = "error",
    tolerance: Annotated[float, typer.Option("--tolerance", min=0, help="Tolerated harm, 0.2 for 20 %.")] = 0.2,
    alpha: Annotated[float, typer.Option("--alpha", min=0.001, max=0.5, help="Chance of a false alarm.")] = 0.05,
    units_per_hour: Units = None,
    rate: Rate = None,
    harm: Harm = 3.0,
    runs: Runs = 50,
    seed: Seed = 1,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Compare the five strategies on your own traffic: false alarms, hours until harm is found, units harmed."""
    import numpy as np

    from pipelines.rollouts.simulation import advise as run

    traffic = _traffic(session(context).workspace, event, units_per_hour, rate)
    rng = np.random.default_rng(seed)
    pairs = run(traffic, tolerance=tolerance, ratio=harm, alpha=alpha, runs=runs, rng=rng)
    _print([outcome for pair in pairs for outcome in pair], traffic, output)
    best = pairs[0][1]
    if output is OutputFormat.TEXT:
        emit(f"Fewest units harmed or lost: {best.strategy.replace('_', ' ')} (grade {best.grade}).")


def _traffic(workspace: Workspace, event: str, units_per_hour: float | None, rate: float | None) -> Traffic:
    from pipelines.rollouts.traffic import Traffic, read_traffic

    if (units_per_hour is None) != (rate is None):
        raise typer.BadParameter("--units-per-hour and --rate belong together: give both, or neither.")
    if units_per_hour is not None and rate is not None:
        return Traffic.steady(units_per_hour, rate)
    with opened_warehouse(workspace, read_only=True) as warehouse:
        return read_traffic(warehouse, event, now=datetime.now(UTC))


def _print(outcomes: Sequence[Outcome], traffic: Traffic, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        emit_json(
            {
                "units_per_week": float(traffic.units.sum()),
                "rate": traffic.rate,
                "source": traffic.source,
                "outcomes": [each.as_dict() for each in outcomes],
            }
        )
        return
    head = ("STRATEGY", "GRADE", "HARM", "TAKEN BACK", "HOURS UNTIL", "UNITS HARMED", "UNITS LOST", "HOURS TO THE END")
    rows = [
        (
            each.strategy.replace("_", " "),
            each.grade,
            "none" if each.ratio == 1 else f"{each.ratio:g} times",
            f"{each.taken_back:.0%}",
            "-" if each.hours is None else f"{each.hours:g}",
            f"{each.harmed:,.0f}",
            f"{each.lost:,.0f}",
            "-" if each.duration is None else f"{each.duration:g}",
        )
        for each in outcomes
    ]
    emit_text(columns([head, *rows]))
    say(f"{traffic.units.sum():,.0f} units a week, {traffic.rate:.3%} of them with the event: {traffic.source}.")
