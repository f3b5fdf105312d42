"""What the calculator asks and answers, without a page: field checks, then the functions of `stats`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from stats.comparisons import ComparisonOptions
from stats.decision import error_rates
from stats.minimum_effect import minimum_effect_means, minimum_effect_proportions
from stats.sample_size import SampleSize, sample_size_means, sample_size_proportions

DAYS_PER_WEEK = 7
MOST_TREATMENTS = 20
MOST_METRICS = 50
MOST_UNITS = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an experiment shall find. Proportions in (0, 1), whatever the page shows.

    Attributes
    ----------
    kind
        ``"proportion"`` or ``"mean"``.
    baseline
        Control's proportion, or its mean per unit.
    sd
        Standard deviation per unit; means only.
    effect
        Smallest change worth acting on, signed: a proportion of the baseline if `relative`, else in the
        metric's units.
    relative
        How `effect` is given.
    treatments
        Arms besides control, of equal size.
    control_share
        Control's share of the units.
    alpha, power, sides, correction
        As in `stats.comparisons.Comparisons`.
    success_metrics
        Success metrics in the plan, which share alpha.
    daily
        Units entering per day over all arms; ``None`` where unknown.
    """

    kind: Literal["proportion", "mean"] = "proportion"
    baseline: float = 0.1
    sd: float = 1.0
    effect: float = 0.05
    relative: bool = True
    treatments: int = 1
    control_share: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    sides: str = "two-sided"
    correction: str = "bonferroni"
    success_metrics: int = 1
    daily: float | None = None

    @property
    def change(self) -> float:
        """The change in the metric's units."""
        return self.effect * abs(self.baseline) if self.relative else self.effect

    @property
    def target(self) -> float:
        """The metric in a treatment with that change."""
        return self.baseline + self.change

    @property
    def lift(self) -> float | None:
        """The change relative to the baseline, a proportion; ``None`` where the baseline is 0."""
        if self.relative:
            return self.effect
        return self.effect / abs(self.baseline) if self.baseline else None

    @property
    def allocation(self) -> float:
        """Units in each treatment per unit in control."""
        return (1 - self.control_share) / self.treatments / self.control_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whole units, and how long they take.

    Attributes
    ----------
    control, treatment, total
        Units in control, in each treatment, and together.
    days, weeks
        Whole days, and whole weeks, until that many have entered; ``None`` without daily units.
    """

    control: int
    treatment: int
    total: int
    days: int | None
    weeks: int | None


def problems(question: Question) -> dict[str, str]:
    """What is wrong with which field, in words for the person who typed it; empty if all is well."""
    q, found = question, {}
    if not math.isfinite(q.baseline):
        found["baseline"] = "Enter a number."
    elif q.kind == "proportion" and not 0 < q.baseline < 1:
        found["baseline"] = "A conversion rate lies between 0% and 100%, both excluded."
    elif q.kind == "mean" and q.relative and q.baseline == 0:
        found["baseline"] = "A relative change needs a mean other than 0: enter it, or give the change in units."
    if q.kind == "mean" and not (0 < q.sd < math.inf):
        found["sd"] = "The standard deviation must be a positive number."
    if not math.isfinite(q.effect) or q.effect == 0:
        found["effect"] = "Enter a change other than 0: no sample is large enough to find no change."
    elif q.kind == "proportion" and "baseline" not in found and not 0 < q.target < 1:
        found["effect"] = f"This change would take the rate to {100 * q.target:.4g}%: choose a smaller one."
    if not 1 <= q.treatments <= MOST_TREATMENTS:
        found["treatments"] = f"Between 1 and {MOST_TREATMENTS} treatments."
    if not 0 < q.control_share < 1:
        found["control_share"] = "Control's share lies between 0% and 100%, both excluded."
    if not 1 <= q.success_metrics <= MOST_METRICS:
        found["success_metrics"] = f"Between 1 and {MOST_METRICS} success metrics."
    return found | _rate_problems(q)


def _rate_problems(q: Question) -> dict[str, str]:
    found = {}
    if not 0 < q.alpha <= 0.5:
        found["alpha"] = "The false-positive rate lies above 0% and is at most 50%."
    if not 0 < q.power < 1:
        found["power"] = "Power lies between 0% and 100%, both excluded."
    elif "alpha" not in found and q.power <= q.alpha:
        found["power"] = "Power must exceed the false-positive rate: below it, no test is needed."
    if q.daily is not None and not (0 < q.daily < math.inf):
        found["daily"] = "Enter a positive number of units per day, or leave it empty."
    return found


@lru_cache(maxsize=256)
def answer(question: Question) -> Answer | None:
    """The sample a question needs; ``None`` where it exceeds a trillion units.

    Raises
    ------
    stats.errors.StatsError
        If the question cannot be answered for a reason `problems` does not see.
    """
    size = _sample(question)
    if not float(size.total) < MOST_UNITS:
        return None
    control, treatment = (int(n) for n in size.rounded())
    total = control + question.treatments * treatment
    days = None if question.daily is None else max(math.ceil(total / question.daily), 1)
    return Answer(
        control=control,
        treatment=treatment,
        total=total,
        days=days,
        weeks=None if days is None else math.ceil(days / DAYS_PER_WEEK),
    )


@lru_cache(maxsize=64)
def detectable(question: Question, totals: tuple[int, ...]) -> tuple[float, ...]:
    """The smallest change that these total numbers of units find, in the metric's units; NaN where none is."""
    q = question
    n = np.asarray(totals, np.float64) * q.control_share
    if q.kind == "proportion":
        direction = "increase" if q.change > 0 else "decrease"
        found = minimum_effect_proportions(q.baseline, n, power=q.power, direction=direction, **_options(q))
    else:
        found = math.copysign(1.0, q.change) * minimum_effect_means(q.sd, n, power=q.power, **_options(q))
    return tuple(float(value) for value in found)


def _sample(q: Question) -> SampleSize:
    if q.kind == "mean":
        # A one-sided test looks for the effect's own sign.
        return sample_size_means(abs(q.change), q.sd, power=q.power, **_options(q))
    if q.change > 0:
        return sample_size_proportions(q.baseline, q.target, power=q.power, **_options(q))
    return sample_size_proportions(1 - q.baseline, 1 - q.target, power=q.power, **_options(q))


def _options(q: Question) -> ComparisonOptions:
    """Success metrics share alpha equally, as the analysis has it; the treatments by the chosen correction."""
    each = error_rates(alpha=q.alpha, power=q.power, success_metrics=q.success_metrics).success_alpha
    return ComparisonOptions(
        alpha=each, sides=q.sides, treatments=q.treatments, allocation=q.allocation, correction=q.correction
    )
