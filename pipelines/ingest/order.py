"""What was asked for when a source is loaded, the same for every source of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from pipelines.definitions.mappings.mapping import Mapping as Definition
from pipelines.ingest.chunks import Kind
from pipelines.ingest.contract import Contract
from pipelines.ingest.mapped import Reading, reading_of

Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A batch that is loaded again by a rebuild: what the ledger said of it."""

    batch_id: int
    path: str
    started_at: datetime
    finished_at: datetime
    line: str
    """Its line in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Kind of rows, whose they are, how columns are called, and what rows must keep to.

    `landed` keeps a copy of each accepted source; `past` is set where a batch is loaded again as it was,
    `mapping` where rows are found in files of another system; with `holds_unknown` a source that names unknown
    experiments or variants is not loaded now.
    """

    kind: Kind
    source: str
    columns: Mapping[str, str]
    contract: Contract
    landed: Path | None = None
    progress: Progress | None = None
    past: Past | None = None
    mapping: Definition | None = None
    holds_unknown: bool = False

    @property
    def reading(self) -> Reading | None:
        """How the mapping finds the rows of the table; None without one."""
        return None if self.mapping is None else reading_of(self.mapping, self.kind.table)

    @property
    def now(self) -> datetime:
        """The moment against which rows are judged to be in the future."""
        return datetime.now(UTC) if self.past is None else self.past.started_at
