"""What changed since numbers were kept: the units whose events have to be read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.analysis.assignments import Assignments, in_utc, micros, moment
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.partial_files import Basis, PartialFile, open_partials
from pipelines.analysis.source_rows import Period
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse

Booleans = npt.NDArray[np.bool_]
MOST_TOUCHED = 0.5
"""Where more of the units had events of one name, reading all of them costs no more than mending."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mending:
    """What was kept, and what has to be read to make it what it would be today.

    Attributes
    ----------
    kept
        The open file.
    key
        Today's number of each unit in it.
    exposed_otherwise
        Units whose first exposure is new or another, shape ``(units,)``.
    by_code
        By number of the event's name the units that have other events of it.
    """

    kept: PartialFile
    key: Integers
    exposed_otherwise: Booleans
    by_code: Mapping[int, Integers]

    @property
    def unchanged(self) -> bool:
        """Whether no unit's numbers differ from what was kept."""
        return not self.by_code and not self.exposed_otherwise.any()

    def touched_by(self, codes: Sequence[int]) -> Booleans:
        """Units whose numbers that are made from events of some names may differ, shape ``(units,)``."""
        found = self.exposed_otherwise.copy()
        for code in codes:
            if code in self.by_code:
                found[self.by_code[code]] = True
        return found


def basis_of(warehouse: Warehouse, period: Period) -> Basis | None:
    """What numbers of this look are made from; None where the ledger is empty."""
    rows = warehouse.rows(read_sql("ledger_head"), {"as_of": None})
    if not rows:
        return None
    batch = int(rows[0]["batch_id"])
    return Basis(
        start=micros(period.start),
        until=micros(period.until),
        look_back_days=period.look_back_days,
        batch=batch,
        ledger=_ledger(warehouse, batch),
    )


def _ledger(warehouse: Warehouse, batch: int) -> str:
    return str(warehouse.rows(read_sql("ledger_until"), {"batch": batch})[0]["digest"])


def what_changed(
    warehouse: Warehouse, path: Path, assignments: Assignments, period: Period, events: Sequence[str]
) -> Mending | None:
    """What was kept of an experiment and which units changed since; None where everything has to be read.

    Parameters
    ----------
    events
        Names of the events that are read.

    Notes
    -----
    The ledger decides, not the time of events: a unit is touched where a batch brought it an event since, however
    old, where an event lies between the two looks' moments, and where its first exposure is new or another. An event
    touches numbers that are made from events of its name only.
    """
    kept = open_partials(path)
    if kept is None:
        return None
    basis = kept.basis
    here = (micros(period.start), period.look_back_days, _ledger(warehouse, basis.batch))
    if here == (basis.start, basis.look_back_days, basis.ledger) and basis.until <= micros(period.until):
        found = _touched(warehouse, kept, assignments, period, events)
        if found is not None:
            return found
    kept.close()
    return None


def _touched(
    warehouse: Warehouse, kept: PartialFile, assignments: Assignments, period: Period, events: Sequence[str]
) -> Mending | None:
    place = np.searchsorted(assignments.unit_id, kept.unit_id)
    if place.size and (place[-1] >= assignments.units or (assignments.unit_id[place] != kept.unit_id).any()):
        return None
    same = np.zeros(assignments.units, np.bool_)
    same[place] = assignments.exposed_at[place] == kept.exposed_at
    codes = {row["event"]: row["event_code"] for row in warehouse.rows(read_sql("event_codes"))}
    connection = warehouse.connection
    connection.register("other_exposures", pa.table({"unit_key": np.flatnonzero(~same).astype(np.int32)}))
    among = [codes[name] for name in events if name in codes]
    limits = {
        "batch": kept.basis.batch,
        "since": in_utc(moment(kept.basis.until)),
        "until": in_utc(period.until),
        "codes": among,
    }
    warehouse.rows(read_sql("touched_units"), limits)
    connection.unregister("other_exposures")
    found = connection.sql("SELECT unit_key, event_code FROM touched_units WHERE event_code IS NOT NULL").fetchnumpy()
    key, code = np.asarray(found["unit_key"], np.int64), np.asarray(found["event_code"], np.int64)
    mending = Mending(
        kept=kept,
        key=np.asarray(place, np.int64),
        exposed_otherwise=~same,
        by_code={int(each): key[code == each] for each in np.unique(code)},
    )
    most = max((mending.touched_by([each]).mean() for each in among if same.size), default=0.0)
    return None if most > MOST_TOUCHED else mending
