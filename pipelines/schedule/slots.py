"""When a report is due: cron expressions in a time zone, daylight saving included."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

_AHEAD = timedelta(hours=3)


def slots_after(cron: str, timezone: str, moment: datetime) -> Iterator[datetime]:
    """Slots after `moment`, the next first, in UTC; see `slots_before`."""
    zone = ZoneInfo(timezone)
    for wall in CronSim(cron, moment.astimezone(zone)):
        slot = wall.astimezone(UTC)
        if slot > moment:
            yield slot


def slots_before(cron: str, timezone: str, moment: datetime) -> Iterator[datetime]:
    """Slots at or before `moment`, latest first, in UTC.

    Parameters
    ----------
    cron
        Five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday).
    timezone
        Name of the IANA time zone the fields are meant in.
    moment
        An aware time.

    Notes
    -----
    A slot at a certain time of day comes once a day, as in Debian's cron: where the clock jumps over it, right after
    the jump; where the clock goes through it twice, the first time. Slots of every hour or every few minutes (a field
    with `*`) follow the elapsed time instead: 23 hourly slots on the day of a jump, 25 on a day with an hour twice.
    """
    zone = ZoneInfo(timezone)
    # CronSim walks back by the clock on the wall. In the second of two equal hours that would skip slots of the
    # first, so the walk starts later than any change of the clock could hide.
    start = (moment.astimezone(UTC) + _AHEAD).astimezone(zone)
    for wall in CronSim(cron, start, reverse=True):
        slot = wall.astimezone(UTC)
        if slot <= moment:
            yield slot
