"""The metrics catalogue: each definition in words, and what experiments found of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.definitions.metrics import (
    CountMetric,
    DistinctMetric,
    FunnelMetric,
    MaxMetric,
    MeanMetric,
    Metric,
    ProportionMetric,
    QuantileMetric,
    RatioMetric,
    RetentionMetric,
    metric_caps,
)
from pipelines.definitions.sources import Source
from pipelines.formatting import number
from pipelines.reports.metric_history import History, history
from pipelines.reports.scorecard import ScorecardRow, scorecard
from pipelines.store.snapshot import Snapshot

MOVED = ("better", "worse", "harmed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One comparison of a metric in one experiment: its scorecard row, and the look it is from."""

    snapshot: Snapshot
    row: ScorecardRow

    @property
    def moved(self) -> bool:
        """Whether the experiment is known to have moved the metric."""
        return self.row.verdict in MOVED and not self.row.withheld and not self.row.greyed


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A metric of the catalogue.

    Attributes
    ----------
    metric
        Its definition.
    sentence
        What it counts, in a sentence.
    facts
        Name and value of what else is defined.
    uses
        Its results, the latest experiments first.
    history
        What it was in the control groups of these experiments.
    """

    metric: Metric
    sentence: str
    facts: tuple[tuple[str, str], ...]
    uses: tuple[Use, ...]
    history: History

    @property
    def experiments(self) -> int:
        """In how many experiments it was judged."""
        return len({use.snapshot.experiment for use in self.uses})

    @property
    def latest(self) -> str:
        """Its newest value in a control group; empty where there is none."""
        return self.uses[0].row.control_text if self.uses else ""

    @property
    def moved_by(self) -> int:
        """How many experiments moved it."""
        return len({use.snapshot.experiment for use in self.uses if use.moved})


def catalogue(metrics: Mapping[str, Metric], snapshots: Sequence[Snapshot]) -> tuple[Entry, ...]:
    """Every defined metric, by its name on screen."""
    uses: dict[str, list[Use]] = {}
    for snapshot in sorted(snapshots, key=lambda each: (each.end, each.experiment), reverse=True):
        for row in scorecard(snapshot):
            uses.setdefault(row.metric, []).append(Use(snapshot=snapshot, row=row))
    found = [
        Entry(
            metric=metric,
            sentence=sentence(metric),
            facts=_facts(metric),
            uses=tuple(uses.get(name, ())),
            history=history(metric, snapshots),
        )
        for name, metric in metrics.items()
    ]
    return tuple(sorted(found, key=lambda entry: (entry.metric.title.casefold(), entry.metric.name)))


def sentence(metric: Metric) -> str:
    """What a metric counts, for a reader who knows the product and not the file."""
    return f"{_what(metric)}{_when(metric)}."


def _what(metric: Metric) -> str:
    if isinstance(metric, RatioMetric):
        parts = [_part(part.aggregate, part.source) for part in (metric.numerator, metric.denominator)]
        return f"{parts[0].capitalize()}, divided by {parts[1]}, over all units"
    if isinstance(metric, FunnelMetric):
        steps = ", then ".join(_events(Source(event=step.event, filters=step.filters)) for step in metric.steps)
        return f"Share of units that did in this order: {steps}"
    source = _events(metric.source)
    if isinstance(metric, QuantileMetric):
        rank = f"{number(metric.quantile * 100, places=1).removesuffix('.0')} % point"
        return f"{rank} of the values of {source}" + (", one value per unit" if metric.of == "units" else "")
    if isinstance(metric, MeanMetric):
        return f"Sum of the values of {source} per unit, 0 for units without any"
    if isinstance(metric, CountMetric):
        return f"Number of {source} per unit"
    if isinstance(metric, DistinctMetric):
        return f"Number of different values of {metric.distinct_of or 'the value'} of {source} per unit"
    if isinstance(metric, MaxMetric):
        return f"Largest value of {source} per unit, 0 for units without any"
    if isinstance(metric, RetentionMetric):
        return f"Share of units with any {source}"
    if isinstance(metric, ProportionMetric):
        return f"Share of units with at least one {source}"
    return f"Days from first exposure to the first {source}, at most the window"


def _part(aggregate: str, source: Source) -> str:
    words = {
        "sum": "sum of the values of",
        "count": "number of",
        "distinct": "number of different values of",
        "max": "largest value of",
        "any": "units with any",
    }
    return f"{words[aggregate]} {_events(source)}"


def _events(source: Source) -> str:
    return f"“{source.event}”" + (" (filtered)" if source.filters else "")


def _when(metric: Metric) -> str:
    opens, closes = metric.opens_days, metric.closes_days
    if closes is None:
        return f", from {_days(opens)} after first exposure to the end" if opens else ", from first exposure to the end"
    if opens:
        return f", from {_days(opens)} to {_days(closes)} after first exposure"
    return f", within {_days(closes)} of first exposure"


def _days(days: float) -> str:
    if days < 1:
        return f"{number(days * 24, places=1).removesuffix('.0')} hours"
    return f"{number(days, places=1).removesuffix('.0')} day{'s' if days != 1 else ''}"


def _facts(metric: Metric) -> tuple[tuple[str, str], ...]:
    found = [("Name in files", metric.name), ("Kind", metric.kind.replace("_", " ")), ("Better", metric.better)]
    found += [("Goal", metric.goal)] if metric.goal else []
    found += [("Owner", metric.owner)] if metric.owner else []
    if metric.minimum_effect is not None:
        effect = f"{number(metric.minimum_effect * 100)} %" if metric.relative else number(metric.minimum_effect)
        found.append(("Smallest effect worth acting on", effect))
    found += [("Capped", ", ".join(".".join(place) for place, _ in metric_caps(metric)))] if metric_caps(metric) else []
    covariates = metric.covariates
    if covariates is not None:
        own = [metric.name] if covariates.own else []
        names = (*own, *covariates.metrics, *covariates.attributes)
        told = f"{', '.join(names)} from the {_days(covariates.look_back_days)} before"
        found.append(("Adjusted for", told))
    return tuple(found)
