"""Exposed units as somebody else's warehouse counted them: exposed = analysed + excluded, by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from pipelines.analysis.assignments import REASONS
from pipelines.definitions.experiments import Experiment
from pipelines.errors import PipelineError
from stats.status import FloatArray

PREFIX = "units:"
"""What stands in the column `metric` of a row of units before the name of its count; no metric has such a name."""
EXPOSED, ANALYSED = "exposed", "analysed"
COUNTS = (EXPOSED, ANALYSED, *REASONS)
"""Names of the counts: units by variant of their first exposure, those in the analysis, and those left out."""
Cells = Mapping[tuple[str, datetime], Mapping[str, Any]]


class GivenMomentsError(PipelineError):
    """Moments that were ingested cannot be those of the experiment.

    Attributes
    ----------
    experiment, metric
        Whose they are.
    """

    def __init__(self, experiment: str, metric: str, problem: str) -> None:
        self.experiment, self.metric = experiment, metric
        super().__init__(
            f"The moments of {metric} in {experiment} {problem}. Load the missing or corrected days with "
            "`rampwise ingest moments FILE`: every day from the start on, each holding all units that had entered by "
            "its end."
        )


class GivenUnitsError(GivenMomentsError):
    """Counts of exposed units contradict each other or those of a metric.

    Attributes
    ----------
    experiment, metric
        Whose they are.
    variant, day
        Where.
    told, found
        The count that was given, and what the others make of it.
    """

    def __init__(
        self, experiment: str, metric: str, *, variant: str, day: datetime, told: float, found: float, words: str
    ) -> None:
        self.variant, self.day, self.told, self.found = variant, day, told, found
        super().__init__(
            experiment, metric, f"contradict the units of {variant} on {day:%Y-%m-%d}: {told:.0f} are given, {words}"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenUnits:
    """Units of one experiment.

    Attributes
    ----------
    exposed
        By variant of first exposure, variants that are not defined included; on the last day.
    excluded
        By reason, on the last day; only reasons that occur.
    analysed
        Shape ``(variants, days)``.
    """

    exposed: Mapping[str, int]
    excluded: Mapping[str, int]
    analysed: FloatArray


def read_given_units(
    experiment: Experiment, rows: Sequence[Mapping[str, Any]], days: Sequence[datetime]
) -> GivenUnits | None:
    """Counts of exposed units among the rows of moments; None where there are none (format 1).

    Raises
    ------
    GivenMomentsError
        If a day or variant lacks its exposed or analysed units, or has fewer of these than the day before.
    GivenUnitsError
        If units exposed are not units analysed and excluded.
    """
    mine = [row for row in rows if row["metric"].startswith(PREFIX)]
    if not mine or not days:
        return None
    cells = {
        name: {(row["variant"], row["day"]): row for row in mine if row["metric"] == PREFIX + name} for name in COUNTS
    }
    analysed = cumulative_units(experiment, PREFIX + ANALYSED, cells[ANALYSED], days)
    cumulative_units(experiment, PREFIX + EXPOSED, cells[EXPOSED], days, falls=True)
    for variant in sorted({row["variant"] for row in mine}):
        for day in days:
            found = {name: _count(cells[name], variant, day) for name in COUNTS}
            told, parts = found.pop(EXPOSED), {name: units for name, units in found.items() if units}
            if told != sum(parts.values()):
                listed = " + ".join(f"{units:.0f} {name}" for name, units in parts.items()) or "none"
                raise GivenUnitsError(
                    experiment.name,
                    PREFIX + EXPOSED,
                    variant=variant,
                    day=day,
                    told=told,
                    found=sum(parts.values()),
                    words=f"and analysed and excluded are {listed} = {sum(parts.values()):.0f}",
                )
    exposed = {row["variant"]: int(row["n"]) for row in cells[EXPOSED].values() if row["day"] == days[-1] and row["n"]}
    excluded = {
        reason: int(sum(row["n"] for row in cells[reason].values() if row["day"] == days[-1])) for reason in REASONS
    }
    return GivenUnits(
        exposed=exposed, excluded={reason: units for reason, units in excluded.items() if units}, analysed=analysed
    )


def check_metric_units(
    experiment: Experiment,
    metric: str,
    units: FloatArray,
    analysed: FloatArray,
    days: Sequence[datetime],
    *,
    waits: bool,
) -> None:
    """Hold a metric's units, shape ``(variants, days)``, against those analysed.

    Parameters
    ----------
    waits
        Whether the metric leaves out units whose window is open; otherwise it has all that are analysed.

    Raises
    ------
    GivenUnitsError
        If it has more, or fewer although none is left out.
    """
    wrong = np.argwhere(units > analysed if waits else units != analysed)
    if not wrong.size:
        return
    place, at = (int(each) for each in wrong[-1])
    told, found = float(units[place, at]), float(analysed[place, at])
    raise GivenUnitsError(
        experiment.name,
        metric,
        variant=experiment.variants[place].name,
        day=days[at],
        told=told,
        found=found,
        words=f"and {found:.0f} are analysed",
    )


def cumulative_units(
    experiment: Experiment, name: str, cells: Cells, days: Sequence[datetime], *, falls: bool = False
) -> FloatArray:
    """Units per variant and day, shape ``(variants, days)``; a variant that is planned to get none may be missing.

    Parameters
    ----------
    falls
        Whether there may be fewer than the day before.
    """
    units = np.zeros((len(experiment.variants), len(days)))
    for place, variant in enumerate(experiment.variants):
        there = [(variant.name, day) in cells for day in days]
        if not any(there) and variant.share == 0:
            continue
        if not all(there):
            problem = f"have no day {days[there.index(False)]:%Y-%m-%d} of {variant.name}"
            raise GivenMomentsError(experiment.name, name, problem)
        units[place] = [cells[variant.name, day]["n"] for day in days]
        fewer = np.flatnonzero(np.diff(units[place]) < 0)
        if fewer.size and not falls:
            raise GivenMomentsError(
                experiment.name,
                name,
                f"are not cumulative: {variant.name} has fewer units on {days[fewer[0] + 1]:%Y-%m-%d} than the day "
                "before",
            )
    return units


def _count(cells: Cells, variant: str, day: datetime) -> float:
    row = cells.get((variant, day))
    return 0.0 if row is None else float(row["n"])
