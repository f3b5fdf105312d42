"""What an experiment shall find, as the page and the command line ask it, and which of its fields cannot be so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from stats.plan_checks import SHARE_TOLERANCE
from stats.sample_size import design_effect

DAYS_PER_WEEK = 7
MOST_TREATMENTS = 20
MOST_METRICS = 50
MOST_DAYS = 3650
MOST_LOOKS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an experiment shall find. Proportions in (0, 1), whatever the page shows.

    Attributes
    ----------
    kind
        ``"proportion"``, ``"mean"`` (or count) or ``"ratio"``.
    goal
        ``"improve"``: find a change; ``"protect"``: show that the metric is not worse than a margin.
    better
        Which way the metric improves; used to protect, a change to find has its sign.
    name
        Of the metric.
    baseline, sd
        Control's mean per unit (proportion, ratio) and standard deviation; of a ratio that of the linearised values.
    effect
        Smallest change worth acting on, signed, or the margin, positive: a proportion of the baseline if `relative`,
        else in the metric's units.
    relative
        How `effect` is given.
    treatments, control_share, shares
        Arms besides control; control's share, the treatments divide the rest equally, unless `shares` names all
        arms', control first.
    alpha, power, sides, correction
        As in `stats.comparisons.Comparisons`.
    success_metrics, guardrails
        Success metrics share alpha, guardrails share beta.
    daily
        New units over all arms on the first, second ... day; one number: every day; empty: unknown.
    design, end, looks, reserve
        As in `stats.plan.Plan`, in days.
    futility, binding
        How beta is spent on giving up before the end, a family of `stats.group_sequential.spending.Spending`; None:
        never; and whether giving up is binding.
    even_looks
        Instead of `looks`: how many even ones there are up to the end.
    correlation, cluster_size, icc, cluster_cv
        Of the covariate that is adjusted for; units per randomised cluster, their correlation, and the spread of the
        clusters' sizes over their mean.
    convention
        Formula for proportions, as in `stats.baseline.Baseline`.
    """

    kind: Literal["proportion", "mean", "ratio"] = "proportion"
    goal: Literal["improve", "protect"] = "improve"
    better: str = "higher"
    name: str = ""
    baseline: float = 0.1
    sd: float = 1.0
    effect: float = 0.05
    relative: bool = True
    treatments: int = 1
    control_share: float = 0.5
    shares: tuple[float, ...] = ()
    alpha: float = 0.05
    power: float = 0.8
    sides: str = "two-sided"
    correction: str = "bonferroni"
    success_metrics: int = 1
    guardrails: int = 0
    daily: tuple[float, ...] = ()
    design: str = "fixed"
    end: float | None = None
    looks: tuple[float, ...] = ()
    even_looks: int | None = None
    reserve: float | None = None
    futility: str | None = None
    binding: bool = False
    correlation: float = 0.0
    cluster_size: float = 1.0
    icc: float = 0.0
    cluster_cv: float = 0.0
    convention: str = "unpooled"

    @property
    def change(self) -> float:
        """The change (for a margin: the harm) in the metric's units."""
        size = self.effect * abs(self.baseline) if self.relative else self.effect
        return -size if self.goal == "protect" and self.better == "higher" else size

    @property
    def target(self) -> float:
        """The metric in a treatment with that change."""
        return self.baseline + self.change

    @property
    def lift(self) -> float | None:
        """The change relative to the baseline, a proportion; ``None`` where the baseline is 0."""
        return self.change / abs(self.baseline) if self.baseline else None

    @property
    def allocation(self) -> float:
        """Units in each treatment per unit in control, all treatments being equal."""
        return (1 - self.control_share) / self.treatments / self.control_share

    @property
    def classical(self) -> bool:
        """Whether the test is one no plan has: one-sided, or Dunnett's for several treatments."""
        dunnett = self.correction != "bonferroni" and self.treatments > 1
        return self.goal == "improve" and (self.sides != "two-sided" or dunnett)

    @property
    def variance_factor(self) -> float:
        """What a covariate and clusters do to the variance."""
        return (1 - self.correlation**2) * float(design_effect(self.cluster_size, self.icc, cv=self.cluster_cv))

    @property
    def arms(self) -> dict[str, float]:
        """Shares by name."""
        names = ["treatment"] if self.treatments == 1 else [f"treatment {n + 1}" for n in range(self.treatments)]
        if self.shares:
            return dict(zip(["control", *names], self.shares, strict=False))
        return {"control": self.control_share, **dict.fromkeys(names, (1 - self.control_share) / self.treatments)}

    def mistakes(self) -> dict[str, str]:
        """What is wrong with which field, in words for the person who typed it."""
        return (
            _metric_mistakes(self)
            | _arm_mistakes(self)
            | _rate_mistakes(self)
            | _spread_mistakes(self)
            | _traffic_mistakes(self)
            | _look_mistakes(self)
        )


def _metric_mistakes(q: Question) -> dict[str, str]:
    found = {}
    if not math.isfinite(q.baseline):
        found["baseline"] = "Enter a number."
    elif q.kind == "proportion" and not 0 < q.baseline < 1:
        found["baseline"] = "A conversion rate lies between 0% and 100%, both excluded."
    elif q.kind != "proportion" and q.relative and q.baseline == 0:
        found["baseline"] = "A relative change needs a mean other than 0: enter it, or give the change in units."
    if q.kind != "proportion" and not (0 < q.sd < math.inf):
        found["sd"] = "The standard deviation must be a positive number."
    if q.goal == "protect" and not q.effect > 0:
        found["effect"] = "A margin is the tolerated harm and positive, whichever direction is better."
    elif q.goal == "protect" and q.relative and q.effect >= 1:
        found["effect"] = "A margin of 100% or more tolerates everything."
    elif not math.isfinite(q.effect) or q.effect == 0:
        found["effect"] = "Enter a change other than 0: no sample is large enough to find no change."
    elif q.kind == "proportion" and "baseline" not in found and not 0 < q.target < 1:
        found["effect"] = f"This change would take the rate to {100 * q.target:.4g}%: choose a smaller one."
    return found


def _arm_mistakes(q: Question) -> dict[str, str]:
    found = {}
    if not 1 <= q.treatments <= MOST_TREATMENTS:
        found["treatments"] = f"Between 1 and {MOST_TREATMENTS} treatments."
    elif q.shares and len(q.shares) != q.treatments + 1:
        found["control_share"] = f"Give control's share alone, or those of all {q.treatments + 1} arms."
    elif not all(0 < share < 1 for share in q.shares or (q.control_share,)):
        found["control_share"] = "Control's share lies between 0% and 100%, both excluded, as every arm's does."
    elif q.shares and abs(math.fsum(q.shares) - 1) > SHARE_TOLERANCE:
        found["control_share"] = f"The shares add up to {100 * math.fsum(q.shares):.10g}%, not to 100%."
    elif q.shares and q.classical:
        found["control_share"] = "This test is sized for treatments of equal size: give control's share alone."
    if not 1 <= q.success_metrics <= MOST_METRICS:
        found["success_metrics"] = f"Between 1 and {MOST_METRICS} success metrics."
    if not 0 <= q.guardrails <= MOST_METRICS:
        found["guardrails"] = f"Between 0 and {MOST_METRICS} guardrails."
    return found


def _rate_mistakes(q: Question) -> dict[str, str]:
    found = {}
    if not 0 < q.alpha <= 0.5:
        found["alpha"] = "The false-positive rate lies above 0% and is at most 50%."
    if not 0 < q.power < 1:
        found["power"] = "Power lies between 0% and 100%, both excluded."
    elif "alpha" not in found and q.power <= q.alpha:
        found["power"] = "Power must exceed the false-positive rate: below it, no test is needed."
    return found


def _spread_mistakes(q: Question) -> dict[str, str]:
    found = {}
    if not -1 < q.correlation < 1:
        found["correlation"] = "A correlation lies between −1 and 1, both excluded."
    if not 1 <= q.cluster_size < math.inf:
        found["cluster_size"] = "A cluster has at least 1 unit."
    if not 0 <= q.icc <= 1:
        found["icc"] = "The correlation within clusters lies between 0 and 1."
    if not 0 <= q.cluster_cv < math.inf:
        found["cluster_cv"] = "The spread of the cluster sizes is at least 0."
    return found


def _traffic_mistakes(q: Question) -> dict[str, str]:
    found = {}
    if not all(0 <= each < math.inf for each in q.daily) or (q.daily and not sum(q.daily) > 0):
        found["daily"] = "Enter a positive number of units per day, those of the first days, or leave it empty."
    if q.end is not None and not 0 < q.end <= MOST_DAYS:
        found["end"] = f"Enter a number of days up to {MOST_DAYS}, or leave it empty."
    if q.classical and q.design != "fixed":
        found["design"] = "One-sided tests and Dunnett's are sized for a fixed design: choose two-sided and Bonferroni."
    return found


def _look_mistakes(q: Question) -> dict[str, str]:
    found = {}
    if not all(math.isfinite(day) for day in q.looks):
        found["looks"] = "Enter days with commas between them, such as 7, 14, 21, or leave it empty."
    elif q.even_looks is not None and not 1 <= q.even_looks <= MOST_LOOKS:
        found["looks"] = f"Between 1 and {MOST_LOOKS} looks can be planned."
    elif q.design == "fixed" and (q.looks or (q.even_looks or 1) > 1):
        found["looks"] = "A fixed design is judged once, at its end: choose another design to look before."
    elif q.even_looks is not None and q.end is None and q.design in ("always_valid", "auto"):
        found["looks"] = "A number of looks is counted up to a planned end: give the end too, or the days of the looks."
    if q.reserve is not None and not 0 <= q.reserve < 1:
        found["reserve"] = "The share of the false-positive rate kept for an overrun lies from 0% to below 100%."
    return found
