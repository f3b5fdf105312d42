"""The contract between whoever delivers rows and the warehouse: what is accepted, and when a whole file is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pipelines.config import Settings
    from pipelines.definitions.loader import Definitions

HISTORY = timedelta(days=90)
AHEAD = timedelta(hours=24)
RATIO_COUNTS_FROM = 100_000_000
FEW_REFUSALS = 10
"""A share says little about a tiny file: fewer refused rows than this never refuse the file, they are only kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What rows and files must keep to.

    Attributes
    ----------
    variants
        Variants by experiment; exposures of others are rejected.
    starts
        When each experiment starts (aware); rows long before it are rejected. Without one only the year 2000 counts.
    history
        How long before the start rows are accepted.
    most_rejected
        Share of refused rows, 0 to 1, above which a file is refused whole; see `FEW_REFUSALS`.
    largest_bytes
        Size of a file after decompression, in bytes, above which it is refused unread.
    largest_ratio
        How many times its packed size a file may be; counts from `RATIO_COUNTS_FROM` bytes on.
    """

    variants: Mapping[str, frozenset[str]] = field(default_factory=dict)
    starts: Mapping[str, datetime] = field(default_factory=dict)
    history: timedelta = HISTORY
    most_rejected: float = 0.01
    largest_bytes: int = 50_000_000_000
    largest_ratio: float = 250.0

    def earliest(self, experiment: str) -> datetime | None:
        """The first moment at which an exposure of an experiment is accepted."""
        start = self.starts.get(experiment)
        return None if start is None else start - self.history

    @property
    def earliest_event(self) -> datetime | None:
        """The first moment at which an event is accepted: an event may belong to any experiment."""
        return min(self.starts.values()) - self.history if self.starts else None

    def latest(self, now: datetime) -> datetime:
        """The moment from which on a row is in the future: clocks differ, and days begin early in the east."""
        return min(now + AHEAD, datetime(2100, 1, 1, tzinfo=UTC))

    def refuses(self, *, read: int, refused: int) -> bool:
        """Whether so many refused rows of so many refuse the file whole."""
        return refused >= FEW_REFUSALS and refused > self.most_rejected * read

    def text(self) -> str:
        """The same as JSON, one spelling per contract, so that a rebuild judges rows as they were judged."""
        return json.dumps(
            {
                "variants": {name: sorted(variants) for name, variants in self.variants.items()},
                "starts": {name: start.astimezone(UTC).isoformat() for name, start in self.starts.items()},
                "history_seconds": self.history.total_seconds(),
                "most_rejected": self.most_rejected,
                "largest_bytes": self.largest_bytes,
                "largest_ratio": self.largest_ratio,
            },
            sort_keys=True,
            ensure_ascii=False,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of `text`, in hexadecimal."""
        return sha256(self.text().encode()).hexdigest()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The contract of `text`."""
        found = json.loads(text)
        return cls(
            variants={name: frozenset(variants) for name, variants in found["variants"].items()},
            starts={name: datetime.fromisoformat(start) for name, start in found["starts"].items()},
            history=timedelta(seconds=found["history_seconds"]),
            most_rejected=found["most_rejected"],
            largest_bytes=found["largest_bytes"],
            largest_ratio=found["largest_ratio"],
        )


def contract_of(definitions: Definitions, settings: Settings) -> Contract:
    """The contract of a workspace: its experiments' variants and starts, and its settings."""
    return Contract(
        variants=definitions.variants,
        starts={name: experiment.start for name, experiment in definitions.experiments.items()},
        history=timedelta(days=settings.history_days),
        most_rejected=settings.most_rejected,
        largest_bytes=int(settings.largest_file * 1e9),
    )


def as_utc(moment: datetime) -> datetime:
    """An aware moment as the warehouse keeps it: in UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)
