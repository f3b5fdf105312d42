"""More health checks: enough units, fresh data, units that still arrive, variants alike before exposure."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from scipy import special

from pipelines.analysis.experiment_moments import ExperimentMoments
from pipelines.definitions.experiments import Experiment
from pipelines.formatting import count, exact_p_value, number
from pipelines.store.snapshot import HealthCheck
from stats.effect import infer
from stats.means import welch

IMBALANCE_LIMIT = 0.001
"""As for the sample ratio: chance alone does this once in a thousand looks, whatever the number of comparisons."""
STALE_HOURS = 36.0
"""Older data are missing a day, whenever in the day they are loaded."""
FELL_TO = 0.1
"""Share of the usual arrivals below which they are said to have stopped; weekends stay above it."""
FEWEST_DAYS = 3
FEWEST_UNITS = 100
"""Per variant. Means of fewer are far from normal unless values are hardly skewed: 355 times the skewness squared, by
Kohavi et al. (2014), KDD, "Seven rules of thumb for web site experimenters", rule 7; 100 are enough up to 0.5."""


def units_check(experiment: Experiment, found: ExperimentMoments, *, now: datetime) -> HealthCheck | None:
    """Whether every variant has enough units; None before the start, and where one has none: another check says so."""
    analysed = {each.name: found.exposed.analysed[each.name] for each in experiment.variants if each.share > 0}
    if experiment.phase(now) == "planned" or not all(analysed.values()):
        return None
    few = [f"{name} {count(units)}" for name, units in analysed.items() if units < FEWEST_UNITS]
    least = float(min(analysed.values()))
    if few:
        message = (
            f"Fewer than {FEWEST_UNITS} {experiment.unit}s are in the analysis of {', '.join(few)}: intervals of so "
            "few may be too narrow, and a single one can turn the result."
        )
        return _check("few_units", "warn", message, statistic=least)
    return _check("few_units", "pass", f"At least {count(int(least))} {experiment.unit}s per variant.", statistic=least)


def freshness_check(experiment: Experiment, found: ExperimentMoments, *, now: datetime) -> HealthCheck | None:
    """Whether the newest exposure or event is recent; None where there is none at all, which another check says."""
    moments = [each for each in (found.exposed.latest, found.latest) if each is not None]
    if not moments:
        return None
    hours = (now - max(moments)) / timedelta(hours=1)
    words = f"The newest data of {experiment.name} are {number(max(hours, 0.0), places=0)} hours old."
    if hours > STALE_HOURS:
        return _check("data_stale", "warn", f"{words} Load what came since, then analyse again.", statistic=hours)
    return _check("data_stale", "pass", words, statistic=hours)


def arrivals_check(experiment: Experiment, found: ExperimentMoments) -> HealthCheck | None:
    """Whether new units stopped arriving on the last whole day; None with fewer than three whole days before it.

    Notes
    -----
    The last whole day is compared with the mean of the days before it: it warns below a tenth of that, where Poisson
    arrivals would do so less than once in a thousand looks.
    """
    whole = int(np.floor(found.days[-1])) if found.days.size else 0
    if whole <= FEWEST_DAYS:
        return None
    per_day = np.diff(found.entered.sum(axis=0)[:whole], prepend=0.0)
    last, usual = float(per_day[-1]), float(per_day[:-1].mean())
    # gammaincc(k + 1, m) is P(Poisson(m) <= k).
    chance = float(special.gammaincc(last + 1.0, usual)) if usual > 0 else 1.0
    words = f"{count(int(last))} new {experiment.unit}s on the last whole day, {number(usual, places=0)} a day before."
    if last < FELL_TO * usual and chance < IMBALANCE_LIMIT:
        advice = "Check that exposures are still logged and loaded. If enrolment ended on purpose, this is as meant."
        return _check("arrivals", "warn", f"{words} {advice}", statistic=last, p_value=chance)
    return _check("arrivals", "pass", words, statistic=last, p_value=chance)


def imbalance_check(experiment: Experiment, found: ExperimentMoments) -> HealthCheck | None:
    """Whether what is known from before exposure differs between variants; None where nothing is known.

    Notes
    -----
    Welch's test of every covariate and treatment, Bonferroni over all of them. Assignment cannot change the past, so a
    difference means that it was not random, or that units were lost after it.
    """
    control = found.variants.index(experiment.control)
    tests: dict[tuple[str, str], float] = {}
    for metric in found.metrics.values():
        for column, name in zip(metric.covariates, metric.covariate_names, strict=True):
            if not isinstance(column, int):
                continue
            for place, variant in enumerate(found.variants):
                if place != control:
                    effect = welch(metric.total[control], metric.total[place], column=column)
                    p_value = float(infer(effect).p_value)
                    if np.isfinite(p_value):
                        tests[(f"{name} before exposure", variant)] = p_value
    if not tests:
        return None
    (name, variant), least = min(tests.items(), key=lambda item: item[1])
    p_value = min(least * len(tests), 1.0)
    told = f"{len(tests)} comparison{'s' if len(tests) > 1 else ''} of what was before exposure"
    if p_value >= IMBALANCE_LIMIT:
        return _check("imbalance", "pass", f"{told}: the variants were alike.", p_value=p_value)
    message = (
        f"{told}: {name} differs between {variant} and {experiment.control} (p = {exact_p_value(p_value)}), which "
        "chance alone hardly ever does. Check how units were assigned, and whether one variant loses some of them."
    )
    return _check("imbalance", "warn", message, p_value=p_value)


def _check(
    name: str, state: str, message: str, *, statistic: float | None = None, p_value: float | None = None
) -> HealthCheck:
    return HealthCheck(name=name, state=state, blocks=False, statistic=statistic, p_value=p_value, message=message)
