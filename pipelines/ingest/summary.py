"""What an ingestion did, in numbers that add up."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why rows were rejected: the code and sentence of the reason, how many rows, and the first of them."""

    code: str
    reason: str
    rows: int
    first_row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSummary:
    """What became of one file or frame; `read = accepted + duplicates + rejected`.

    Attributes
    ----------
    source
        The file's path, or the frame's kind.
    read, accepted, duplicates, rejected
        Counts of rows. A duplicate was there before, or earlier in the same file.
    rejected_before
        How many of the duplicates repeat a row that is in `rejected` already.
    passed_over
        Rows of the file that are, by its mapping, not of this table; they are not in `read`.
    refusals
        The most frequent reasons of the rejected rows.
    batch_id
        The entry in the ledger; None where nothing was loaded.
    error
        Why nothing was loaded; None where it was.
    """

    source: str
    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejected_before: int = 0
    passed_over: int = 0
    refusals: tuple[Refusal, ...] = ()
    batch_id: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSummary:
    """What became of all sources of one call, one entry per source in `files`."""

    table: str
    files: tuple[FileSummary, ...]

    @property
    def read(self) -> int:
        """Rows read."""
        return sum(file.read for file in self.files)

    @property
    def accepted(self) -> int:
        """Rows that are new in the warehouse."""
        return sum(file.accepted for file in self.files)

    @property
    def duplicates(self) -> int:
        """Rows that were there before, or earlier in the same file."""
        return sum(file.duplicates for file in self.files)

    @property
    def rejected(self) -> int:
        """Rows that were refused and kept in `rejected` with their reason."""
        return sum(file.rejected for file in self.files)

    @property
    def failed(self) -> tuple[FileSummary, ...]:
        """The sources that were not loaded."""
        return tuple(file for file in self.files if file.error is not None)

    def line(self) -> str:
        """One line for people: the sum."""
        return (
            f"read {self.read:,} = {self.accepted:,} accepted + {self.duplicates:,} duplicates "
            f"+ {self.rejected:,} rejected"
        )

    def as_dict(self) -> dict[str, object]:
        """The same for programs: plain numbers, texts, lists and dicts."""
        return {
            "table": self.table,
            "read": self.read,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "files": [asdict(file) for file in self.files],
        }
