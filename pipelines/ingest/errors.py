"""Errors of ingestion. A file that cannot be read at all raises; a row that cannot be accepted is a rejected row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from pipelines.ingest.summary import IngestSummary


class IngestError(PipelineError):
    """Base of the errors of ingestion."""


class NoSourceError(IngestError):
    """A path or pattern matches no file; `pattern` is what was asked for."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        super().__init__(f"{pattern} matches no file. Check the path; nothing was loaded.")


class SourceError(IngestError):
    """A whole file or frame cannot be loaded; the warehouse is as it was.

    Attributes
    ----------
    source
        The file's path, or the frame's kind.
    problem
        What was found and why it is wrong.
    advice
        What to do.
    """

    def __init__(self, source: str, problem: str, advice: str) -> None:
        self.source, self.problem, self.advice = source, problem, advice
        super().__init__(f"{source}: {problem} {advice} Nothing of it was loaded.")


class EmptySourceError(SourceError):
    """The file has no bytes."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "the file is empty.", "Export it again, with its header.")


class UnreadableSourceError(SourceError):
    """The file is damaged, or not of the kind its name says."""


class ColumnError(SourceError):
    """A column is missing, ambiguous, or of a kind that cannot be used; `column` is our name for it."""

    def __init__(self, source: str, column: str, problem: str, advice: str) -> None:
        self.column = column
        super().__init__(source, problem, advice)


class MissingColumnError(ColumnError):
    """A needed column is not there; `found` lists the columns that are."""

    def __init__(
        self, source: str, column: str, *, accepted: Sequence[str], found: Sequence[str], nearest: str | None
    ) -> None:
        self.found = tuple(found)
        names = " or ".join(accepted)
        hint = f" Did you mean {nearest!r}?" if nearest else ""
        super().__init__(
            source,
            column,
            f"there is no column {names}; the columns are {', '.join(found) or 'none'}.{hint}",
            f'Rename the column, or say which one it is: columns={{"{column}": "{nearest or "name in the file"}"}}.',
        )


class AmbiguousColumnError(ColumnError):
    """Several columns could be the one we need; `candidates` lists them."""

    def __init__(self, source: str, column: str, candidates: Sequence[str]) -> None:
        self.candidates = tuple(candidates)
        super().__init__(
            source,
            column,
            f"{' and '.join(candidates)} could both be {column}.",
            f'Say which one it is: columns={{"{column}": "{candidates[0]}"}}.',
        )


class MappingSectionError(IngestError, UsageError):
    """A mapping does not say where the rows of a table are; `mapping` and `table` name both."""

    def __init__(self, mapping: str, table: str) -> None:
        self.mapping, self.table = mapping, table
        other = "events" if table == "exposures" else "exposures"
        super().__init__(
            f"The mapping {mapping} has no table [{table}]: it describes {other} only. "
            f"Load them with `rampwise ingest {other}`, or extend the mapping in mappings/."
        )


class LoadError(IngestError):
    """The warehouse refused to store what was read: a full disk, for example. `source` names the file."""

    def __init__(self, source: str, problem: str) -> None:
        self.source, self.problem = source, problem
        super().__init__(
            f"{source} could not be stored: {problem} Nothing of it was kept; files before it were. "
            "Remove the cause and load the same files again: rows that are already there count as duplicates."
        )


class IngestFailedError(IngestError):
    """Some of several sources could not be loaded; the others were.

    Attributes
    ----------
    summary
        What was loaded, with one entry per source.
    failures
        One error per source that was not.
    """

    def __init__(self, summary: IngestSummary, failures: Sequence[SourceError]) -> None:
        self.summary, self.failures = summary, tuple(failures)
        problems = "\n".join(f"- {failure}" for failure in failures)
        super().__init__(f"{len(failures)} of {len(summary.files)} sources were not loaded:\n{problems}")
