"""How good the data are that came in: batches, refused rows by reason, how fresh each source is, files kept aside."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse

MOST_BATCHES = 50
LONGEST_EXAMPLE = 300
REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A line of the ledger."""

    batch_id: int
    table_name: str
    source: str
    path: str
    rows_read: int
    accepted: int
    duplicates: int
    rejected: int
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedReason:
    """Refused rows of one kind: how many still are, how many were accepted later, and the latest one."""

    table_name: str
    code: str
    open_rows: int
    resolved_rows: int
    last_batch: int
    reason: str
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFreshness:
    """A source's rows by what became of them, when it was last loaded, and its newest event (UTC)."""

    table_name: str
    source: str
    accepted: int
    duplicates: int
    rejected: int
    loaded_at: datetime
    newest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """All of it at one moment.

    Attributes
    ----------
    batches
        The newest `MOST_BATCHES`, newest first.
    rejected
        By table and kind of reason, the most frequent first.
    sources
        By table and name.
    refused_files
        Files of the inbox that were refused whole and kept aside.
    """

    batches: tuple[Batch, ...]
    rejected: tuple[RejectedReason, ...]
    sources: tuple[SourceFreshness, ...]
    refused_files: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "batches": [_plain(asdict(each)) for each in self.batches],
            "rejected": [_plain(asdict(each)) for each in self.rejected],
            "sources": [_plain(asdict(each)) for each in self.sources],
            "refused_files": list(self.refused_files),
        }


def data_quality(warehouse: Warehouse, inbox: Path) -> DataQuality:
    """Read it from the ledger; three short queries, so that the warehouse is held for a moment only."""
    batches = warehouse.rows(read_sql("quality_batches"), {"most": MOST_BATCHES})
    rejected = warehouse.rows(read_sql("quality_rejected"))
    sources = warehouse.rows(read_sql("quality_sources"))
    aside = inbox / REFUSED
    files = aside.rglob("*") if aside.is_dir() else ()
    refused = sorted(str(path.relative_to(inbox)) for path in files if path.is_file())
    return DataQuality(
        batches=tuple(Batch(**_aware(row)) for row in batches),
        rejected=tuple(RejectedReason(**{**row, "example": str(row["example"])[:LONGEST_EXAMPLE]}) for row in rejected),
        sources=tuple(SourceFreshness(**_aware(row)) for row in sources),
        refused_files=tuple(refused),
    )


def lag(newest: datetime | None, *, now: datetime) -> timedelta | None:
    """How old the newest event of a source is; None where it has none."""
    return None if newest is None else now - newest


def _aware(row: dict[str, Any]) -> dict[str, Any]:
    return {name: each.replace(tzinfo=UTC) if isinstance(each, datetime) else each for name, each in row.items()}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in row.items()}
