"""Which column of a source is which of ours: by name, never by position."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.ingest.errors import AmbiguousColumnError, ColumnError, MissingColumnError

TIMES = ("ts", "timestamp", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One of our columns: its name, what else it may be called, and whether a source must have it."""

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = True


EXPOSURE_COLUMNS = (
    Column(name="experiment", aliases=("experiment_id",)),
    Column(name="unit_id"),
    Column(name="variant"),
    Column(name="exposed_at", aliases=TIMES),
    Column(name="exposure_id", required=False),
)
EVENT_COLUMNS = (
    Column(name="unit_id"),
    Column(name="event"),
    Column(name="occurred_at", aliases=TIMES),
    Column(name="value", required=False),
    Column(name="event_id", required=False),
)
IDENTITY_COLUMNS = (
    Column(name="anonymous_id"),
    Column(name="known_id"),
    Column(name="linked_at", aliases=TIMES),
    Column(name="link_id", required=False),
)
MOMENT_COLUMNS = (
    Column(name="experiment", aliases=("experiment_id",)),
    Column(name="metric"),
    Column(name="variant"),
    Column(name="day", aliases=("date",)),
    Column(name="n", aliases=("units",)),
    Column(name="mean"),
    Column(name="variance"),
    Column(name="denominator_mean", required=False),
    Column(name="denominator_variance", required=False),
    Column(name="covariance", required=False),
)


def match_columns(
    source: str, found: Sequence[str], wanted: Sequence[Column], chosen: Mapping[str, str]
) -> dict[str, int]:
    """Positions in `found` of our columns; upper and lower case and outer spaces do not matter.

    A column of exactly our name wins over aliases; what `chosen` says (our name -> name in the source) wins over both.

    Raises
    ------
    MissingColumnError, AmbiguousColumnError, ColumnError
        If a needed column is not there, could be several, appears twice, or `chosen` names a column we do not have.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(found):
        places.setdefault(name.strip().casefold(), []).append(place)
    ours = [column.name for column in wanted]
    for name in chosen:
        if name not in ours:
            raise ColumnError(
                source, name, f"columns names {name!r}, which is none of {', '.join(ours)}.", "Use one of these names."
            )
    matched: dict[str, int] = {}
    for column in wanted:
        names = (chosen[column.name],) if column.name in chosen else (column.name, *column.aliases)
        candidates = [name for name in names if name.strip().casefold() in places]
        if column.name in candidates and column.name not in chosen:
            candidates = [column.name]
        if not candidates:
            if column.required or column.name in chosen:
                raise MissingColumnError(
                    source, column.name, accepted=names, found=found, nearest=_nearest(names, found)
                )
            continue
        at = [place for name in candidates for place in places[name.strip().casefold()]]
        if len(at) > 1:
            raise AmbiguousColumnError(source, column.name, [found[place] for place in at])
        matched[column.name] = at[0]
    return matched


def _nearest(names: Sequence[str], found: Sequence[str]) -> str | None:
    for name in names:
        close = difflib.get_close_matches(name, found, n=1, cutoff=0.5)
        if close:
            return close[0]
    return None
