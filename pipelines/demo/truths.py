"""What is true in the generated experiments: planted effects, and what an analysis should find."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files

FILE = "truths.json"
PLANTED = ("conversion", "average_order_value", "refund_rate", "page_load_time", "error_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentTruth:
    """One treatment.

    Attributes
    ----------
    lifts
        Planted relative effects by metric, proportions: those of `PLANTED`.
    verdicts
        Expected verdicts by metric; only where the experiment is large enough to find them nearly always.
    """

    lifts: dict[str, float]
    verdicts: dict[str, str]

    def true_lift(self, metric: str) -> float:
        """True relative effect on any metric of the shop; orders and revenue follow from the planted ones."""
        conversion, value = 1 + self.lifts["conversion"], 1 + self.lifts["average_order_value"]
        implied = {"orders_per_user": conversion - 1, "revenue_per_user": conversion * value - 1}
        return implied[metric] if metric in implied else self.lifts[metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentTruth:
    """One generated experiment.

    Attributes
    ----------
    users
        Users who are randomised.
    started_days_ago, days
        Its start, counted from the midnight (UTC) before the demo is built, and its planned length.
    shares_lost
        Share of a variant's users who never reach the log, by variant: a broken sample ratio.
    decision
        What to do.
    treatments
        The treatments by name.
    """

    users: int
    started_days_ago: int
    days: int
    shares_lost: dict[str, float]
    decision: str
    treatments: dict[str, TreatmentTruth]

    def period(self, midnight: datetime) -> tuple[datetime, datetime]:
        """Start and planned end."""
        start = midnight - timedelta(days=self.started_days_ago)
        return start, start + timedelta(days=self.days)


def truths_text() -> str:
    """The file as it is in the package."""
    return (files("pipelines.demo") / FILE).read_text(encoding="utf-8")


def read_truths() -> dict[str, ExperimentTruth]:
    """The truths of all generated experiments, by experiment."""
    table = json.loads(truths_text())["experiments"]
    return {
        name: ExperimentTruth(
            **{**entry, "treatments": {key: TreatmentTruth(**value) for key, value in entry["treatments"].items()}}
        )
        for name, entry in table.items()
    }
