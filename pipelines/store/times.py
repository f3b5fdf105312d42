"""Times as the state database keeps them: UTC in fixed width, so that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime

from pipelines.store.database import StateError

_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


def to_text(moment: datetime) -> str:
    """An aware moment as text.

    Raises
    ------
    StateError
        If it has no time zone.
    """
    if moment.tzinfo is None:
        raise StateError(f"The time {moment.isoformat()} has no time zone; pass an aware time, for example in UTC.")
    return moment.astimezone(UTC).strftime(_FORM)


def to_time(text: str) -> datetime:
    """The moment such a text stands for."""
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
