"""Who is in the analysis: first exposure per unit, and exposed = analysed + excluded, by reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.definitions.experiments import Experiment
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
REASONS = (
    "several_variants",
    "before_start",
    "after_end",
    "in_the_future",
    "unknown_variant",
    "ambiguous_identity",
    "not_activated",
)
SEVERAL, BEFORE, AFTER, FUTURE, UNKNOWN, AMBIGUOUS, NOT_ACTIVATED = range(len(REASONS))
ANALYSED = -1
POLICIES = ("exclude", "first", "as_assigned")
_TICK = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignments:
    """Units of one experiment, ordered by `unit_key`, which counts up from 0.

    Attributes
    ----------
    variants
        Names: the experiment's, in its order, then unknown ones of the log by name.
    known
        How many of them the experiment defines.
    variant
        Place among `variants` of each unit, shape ``(units,)``.
    exposed_at
        First exposure, microseconds since 1970 (UTC).
    several
        Whether the unit was seen in several variants.
    excluded
        Place among `REASONS` of why the unit is left out; -1 where it is analysed.
    identified
        Whether anonymous ids were taken for known ones: rows are then read from `unit_exposures` and `unit_events`.
    unit_id
        The warehouse's number of each unit, ascending.
    others
        The same units under the other policies for units seen in several variants, by policy; empty where none was.
    """

    variants: tuple[str, ...]
    known: int
    variant: npt.NDArray[np.int32]
    exposed_at: Integers
    several: Booleans
    excluded: npt.NDArray[np.int8]
    identified: bool = False
    unit_id: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    others: Mapping[str, Assignments] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Units exposed."""
        return self.variant.size

    @property
    def analysed(self) -> Booleans:
        """Which units are in the analysis."""
        return np.asarray(self.excluded == ANALYSED)

    def without(self, units: Booleans, reason: int) -> Assignments:
        """The same, with more units left out; a unit keeps its first reason."""
        newly = units & (self.excluded == ANALYSED)
        return replace(
            self,
            excluded=np.where(newly, np.int8(reason), self.excluded).astype(np.int8),
            others={policy: each.without(units, reason) for policy, each in self.others.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """Units of one experiment, counted.

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
    all_told
        Whether units that are left out are known; moments of another warehouse may have been given without them.
    """

    by_variant: dict[str, int]
    analysed: dict[str, int]
    excluded: dict[str, int]
    latest: datetime | None
    all_told: bool = True

    @property
    def total(self) -> int:
        """Units exposed."""
        return sum(self.by_variant.values())

    @property
    def unknown(self) -> tuple[str, ...]:
        """Variants in the log that the definition does not know."""
        return tuple(sorted(set(self.by_variant) - set(self.analysed)))


def read_assignments(
    warehouse: Warehouse,
    experiment: Experiment,
    *,
    now: datetime,
    as_of: datetime | None = None,
    policy: str | None = None,
) -> Assignments:
    """Make the temporary table `assignments` of one experiment, and read it.

    Parameters
    ----------
    now
        Exposures at or after it are in the future (aware).
    as_of
        Only what had been ingested by then; None: everything.
    policy
        What happens to units seen in several variants; the experiment's unless given.
    """
    parameters = {
        "experiment": experiment.name,
        "until": in_utc(min(experiment.end, now)),
        "as_of": None if as_of is None else in_utc(as_of),
    }
    map_units(warehouse, experiment, until=now, as_of=as_of)
    warehouse.rows(read_sql("assignment_places"), {"experiment": experiment.name})
    warehouse.rows(read_sql("assignments"), parameters)
    logged = [row["variant"] for row in warehouse.rows(read_sql("logged_variants"))]
    defined = [variant.name for variant in experiment.variants]
    variants = (*defined, *(name for name in logged if name not in defined))
    table: Any = warehouse.connection.sql(read_sql("read_assignments")).to_arrow_table()
    place = np.array([variants.index(name) for name in logged], np.int32)
    chosen = policy or experiment.several_variants
    first = place[table["place"].to_numpy()] if logged else np.zeros(0, np.int32)
    assigned = place[table["assigned_place"].to_numpy()] if logged else first
    several = np.asarray(table["several"].to_numpy(zero_copy_only=False), np.bool_)
    base = Assignments(
        variants=variants,
        known=len(defined),
        variant=first,
        exposed_at=np.asarray(table["exposed_at"].to_numpy()).astype("datetime64[us]").astype(np.int64),
        several=several,
        excluded=np.full(len(table), ANALYSED, np.int8),
        identified=experiment.identity is not None,
        unit_id=np.asarray(table["unit_id"].to_numpy(), np.int64),
    )
    ambiguous = np.asarray(table["ambiguous"].to_numpy(zero_copy_only=False), np.bool_)
    wanted = POLICIES if several.any() else (chosen,)
    found = {
        each: _with_reasons(
            replace(base, variant=assigned if each == "as_assigned" else first),
            experiment,
            now=now,
            exclude=each == "exclude",
            ambiguous=ambiguous,
        )
        for each in wanted
    }
    return replace(found[chosen], others={each: found[each] for each in wanted if each != chosen})


def _with_reasons(
    found: Assignments, experiment: Experiment, *, now: datetime, exclude: bool, ambiguous: Booleans
) -> Assignments:
    at = found.exposed_at
    for left_out, reason in (
        (found.variant >= found.known, UNKNOWN),
        (at < micros(experiment.start), BEFORE),
        (at >= micros(experiment.end), AFTER),
        (at >= micros(now), FUTURE),
        (found.several & exclude, SEVERAL),
        (ambiguous, AMBIGUOUS),
    ):
        found = found.without(left_out, reason)
    return found


def count_exposed(assignments: Assignments) -> Exposed:
    """Count units by variant and by reason."""
    analysed = assignments.analysed
    names = assignments.variants
    by_variant = np.bincount(assignments.variant, minlength=len(names))
    inside = np.bincount(assignments.variant[analysed], minlength=len(names))
    reasons = np.bincount(assignments.excluded[~analysed], minlength=len(REASONS))
    latest = int(assignments.exposed_at[analysed].max()) if analysed.any() else None
    return Exposed(
        by_variant={name: int(n) for name, n in zip(names, by_variant, strict=True) if n},
        analysed={name: int(inside[place]) for place, name in enumerate(names[: assignments.known])},
        excluded={reason: int(n) for reason, n in zip(REASONS, reasons, strict=True) if n},
        latest=None if latest is None else moment(latest),
    )


def find_exposed(warehouse: Warehouse, experiment: Experiment, *, now: datetime) -> Exposed:
    """Count the units of one experiment, which makes the temporary table `assignments`."""
    return count_exposed(read_assignments(warehouse, experiment, now=now))


def map_units(warehouse: Warehouse, experiment: Experiment, *, until: datetime, as_of: datetime | None = None) -> None:
    """Make the temporary views `unit_exposures` and `unit_events`: rows under the unit they are taken for.

    Parameters
    ----------
    until, as_of
        As for `identify`.
    """
    if experiment.identity is None:
        warehouse.connection.execute(read_sql("units_as_they_are"))
        return
    identify(warehouse, experiment.identity, until=until, as_of=as_of)
    warehouse.connection.execute(read_sql("units_identified"))


def identify(warehouse: Warehouse, policy: str, *, until: datetime, as_of: datetime | None = None) -> None:
    """Make the temporary table `identified_units`: `anonymous_id`, `unit_id`, `ambiguous`, `known_ids`.

    An exposure's or event's unit is `coalesce(identified_units.unit_id, unit_id)`; an ambiguous one stays itself and
    is left out of the analysis as `ambiguous_identity`, and its events count for nobody.

    Parameters
    ----------
    policy
        ``"strict"``, ``"first_touch"`` or ``"last_touch"``.
    until
        Links at or after this moment (aware) do not count.
    as_of
        Only what had been ingested by then (aware) counts; None: all.
    """
    limits = {"until": in_utc(until), "as_of": None if as_of is None else in_utc(as_of)}
    warehouse.rows(read_sql("identified_units"), {"policy": policy, **limits})


def in_utc(time: datetime) -> datetime:
    """An aware moment as the warehouse stores it: UTC without a zone."""
    return time.astimezone(UTC).replace(tzinfo=None)


def micros(time: datetime) -> int:
    """An aware moment in microseconds since 1970."""
    return (time - _EPOCH) // _TICK


def moment(microseconds: int) -> datetime:
    """Microseconds since 1970 as an aware moment."""
    return _EPOCH + microseconds * _TICK
