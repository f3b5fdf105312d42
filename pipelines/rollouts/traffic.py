"""A team's own traffic: how many units come in each hour of the week, and how many of them have a guardrail's event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from pipelines.analysis.assignments import in_utc
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.errors import UsageError
from stats.status import FloatArray

WEEK = 168
LOOK_BACK = timedelta(days=28)


class TrafficError(UsageError):
    """There is no traffic to simulate with; `event` says of what."""

    def __init__(self, event: str) -> None:
        self.event = event
        super().__init__(
            f"The warehouse holds no {event!r} events of the last 28 days to simulate with: give --units-per-hour and "
            "--rate instead."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """What comes in.

    Attributes
    ----------
    units
        Units per hour of the week, shape ``(168,)``, from Monday 00:00 UTC.
    rate
        Share of them with the guardrail's event, in (0, 1).
    source
        Where that is from, in words.
    """

    units: FloatArray
    rate: float
    source: str

    @classmethod
    def steady(cls, units_per_hour: float, rate: float) -> Traffic:
        """The same every hour, but for a daily wave of 40 %.

        Raises
        ------
        UsageError
            If there are no units, or the rate is no proportion between 0 and 1.
        """
        if not units_per_hour > 0 or not 0 < rate < 1:
            raise UsageError("--units-per-hour must be positive, and --rate a proportion between 0 and 1.")
        wave = 1.0 + 0.4 * np.sin(2.0 * np.pi * np.arange(WEEK) / 24.0)
        return cls(units=units_per_hour * wave, rate=rate, source="as given, with a daily wave of 40 %")

    def hours(self, count: int, *, start: int = 0) -> FloatArray:
        """Expected units of so many hours, from an hour of the week on."""
        return np.asarray(self.units[(start + np.arange(count)) % WEEK])


def read_traffic(warehouse: Warehouse, event: str, *, now: datetime) -> Traffic:
    """The last 28 days, hour by hour of the week.

    Raises
    ------
    TrafficError
        If there are none.
    """
    codes = {row["event"]: row["event_code"] for row in warehouse.rows(read_sql("event_codes"))}
    if event not in codes:
        raise TrafficError(event)
    span = {"code": codes[event], "since": in_utc(now - LOOK_BACK), "until": in_utc(now)}
    units, events = np.zeros(WEEK), np.zeros(WEEK)
    for row in warehouse.rows(read_sql("hourly_traffic"), span):
        units[row["hour_of_week"]], events[row["hour_of_week"]] = row["units"], row["with_event"]
    if not units.sum() > 0 or not events.sum() > 0:
        raise TrafficError(event)
    rate = min(float(events.sum() / units.sum()), 0.99)
    return Traffic(units=units, rate=rate, source="the last 28 days in the warehouse, by hour of the week")
