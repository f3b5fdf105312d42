"""Who is in the analysis: first exposure per unit, and exposed = analysed + excluded, by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.definitions.experiments import Experiment
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse

REASONS = ("several_variants", "before_start", "after_end", "in_the_future", "unknown_variant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """Units of one experiment.

    Attributes
    ----------
    by_variant
        Units by variant of their first exposure, excluded ones and unknown variants included.
    analysed
        Units in the analysis, for every defined variant.
    excluded
        Units left out, by reason; only reasons that occur.
    latest
        Latest first exposure in the analysis, UTC.
    """

    by_variant: dict[str, int]
    analysed: dict[str, int]
    excluded: dict[str, int]
    latest: datetime | None

    @property
    def total(self) -> int:
        """Units exposed."""
        return sum(self.by_variant.values())

    @property
    def unknown(self) -> tuple[str, ...]:
        """Variants in the log that the definition does not know."""
        return tuple(sorted(set(self.by_variant) - set(self.analysed)))


def find_exposed(warehouse: Warehouse, experiment: Experiment, *, now: datetime) -> Exposed:
    """Make the temporary table `first_exposures` of one experiment, and count it."""
    parameters = {
        "experiment": experiment.name,
        "variants": [variant.name for variant in experiment.variants],
        "start": in_utc(experiment.start),
        "end": in_utc(experiment.end),
        "now": in_utc(now),
    }
    warehouse.rows(read_sql("first_exposures"), parameters)
    by_variant: Counter[str] = Counter()
    excluded: Counter[str] = Counter()
    analysed = {variant.name: 0 for variant in experiment.variants}
    latest: datetime | None = None
    for row in warehouse.rows(read_sql("exposure_counts")):
        by_variant[row["variant"]] += row["units"]
        if row["excluded"] is not None:
            excluded[row["excluded"]] += row["units"]
            continue
        analysed[row["variant"]] = row["units"]
        seen = row["latest"].replace(tzinfo=UTC)
        latest = seen if latest is None else max(latest, seen)
    return Exposed(
        by_variant=dict(by_variant),
        analysed=analysed,
        excluded={reason: excluded[reason] for reason in REASONS if excluded[reason]},
        latest=latest,
    )


def in_utc(moment: datetime) -> datetime:
    """An aware moment as the warehouse stores it: UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)
