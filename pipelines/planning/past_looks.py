"""What past looks know about a metric before the next experiment: its baseline in control, and how units arrive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.store.snapshot import MetricResult, Snapshot
from stats.baseline import Baseline
from stats.enrolment import Enrolment


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBaseline:
    """A metric's baseline and the look it comes from.

    Attributes
    ----------
    baseline
        Mean and spread in that experiment's control.
    experiment, analysed_at, units
        The experiment, when it was analysed, and how many units its control had.
    """

    baseline: Baseline
    experiment: str
    analysed_at: datetime
    units: int


def past_baselines(snapshots: Iterable[Snapshot], *, prefer: str = "") -> dict[str, PastBaseline]:
    """The baseline of every metric that past looks have measured.

    Parameters
    ----------
    snapshots
        The latest look at each experiment. Looks that a health check blocks are passed over.
    prefer
        Name of the experiment whose own looks come first; after it the most recent one.
    """
    found: dict[str, PastBaseline] = {}
    for snapshot in sorted(snapshots, key=lambda s: (s.experiment == prefer, s.analysed_at)):
        if snapshot.blocked:
            continue
        for metric in snapshot.metrics:
            control = next((arm for arm in metric.arms if arm.variant == snapshot.control), None)
            baseline = measured_baseline(metric, snapshot.control)
            if baseline is not None and control is not None:
                found[metric.metric] = PastBaseline(
                    baseline=baseline,
                    experiment=snapshot.experiment,
                    analysed_at=snapshot.analysed_at,
                    units=control.n,
                )
    return found


def past_enrolment(snapshots: Iterable[Snapshot]) -> Enrolment | None:
    """How units entered one experiment, from its looks; None where none of them saw any.

    Parameters
    ----------
    snapshots
        Looks at one experiment, in any order.
    """
    entered: dict[float, int] = {}
    for snapshot in snapshots:
        days, units = entered_by(snapshot)
        if days > 0 and units > 0:
            entered[days] = max(units, entered.get(days, 0))
    points: list[tuple[float, int]] = []
    for days, units in sorted(entered.items()):
        # Late data may lower a count again; the curve never falls.
        points.append((days, max(units, points[-1][1] if points else 0)))
    if not points:
        return None
    return Enrolment(days=tuple(days for days, _ in points), units=tuple(float(units) for _, units in points))


def entered_by(snapshot: Snapshot) -> tuple[float, int]:
    """Days from the start to the last moment a look has seen, and the units that had entered by then.

    Units in the analysis: a look as of an earlier moment knows of exposures after it, and leaves them out.
    """
    seen = min(snapshot.analysed_at, snapshot.end, snapshot.data_until or snapshot.analysed_at)
    return (seen - snapshot.start) / timedelta(days=1), sum(arm.analysed for arm in snapshot.arms)


def measured_baseline(metric: MetricResult, control: str) -> Baseline | None:
    """Mean and spread of a metric in the variant `control` as a look measured them; None where there is no spread."""
    found = next((arm for arm in metric.arms if arm.variant == control), None)
    if found is None or found.mean is None or found.variance is None or not found.variance > 0:
        return None
    if metric.kind == "proportion":
        return Baseline.of_proportion(found.mean) if 0 < found.mean < 1 else None
    return Baseline(kind="ratio" if metric.kind == "ratio" else "mean", mean=found.mean, sd=found.variance**0.5)
