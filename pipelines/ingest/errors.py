"""Errors of ingestion. A file that cannot be read at all raises; a row that cannot be accepted is a rejected row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import PipelineError, UsageError
from pipelines.formatting import in_one_line

if TYPE_CHECKING:
    from pipelines.ingest.summary import IngestSummary, Refusal


class IngestError(PipelineError):
    """Base of the errors of ingestion."""


class NoSourceError(IngestError):
    """A path or pattern matches no file; `pattern` is what was asked for."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        super().__init__(f"{in_one_line(pattern)} matches no file. Check the path; nothing was loaded.")


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
        super().__init__(f"{in_one_line(source)}: {problem} {advice} Nothing of it was loaded.")


class EmptySourceError(SourceError):
    """The file has no bytes."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "the file is empty.", "Export it again, with its header.")


class UnreadableSourceError(SourceError):
    """The file is damaged, or not of the kind its name says."""


class TooManyRefusalsError(SourceError):
    """So many rows were refused that the file cannot be what was meant; `refusals` are the most frequent reasons."""

    def __init__(
        self, source: str, *, read: int, refused: int, most_rejected: float, refusals: Sequence[Refusal]
    ) -> None:
        self.read, self.refused, self.most_rejected, self.refusals = read, refused, most_rejected, tuple(refusals)
        first = "; ".join(f"{each.reason} ({each.rows:,}, from row {each.first_row:,} on)" for each in refusals[:3])
        super().__init__(
            source,
            f"{refused:,} of {read:,} rows break the contract, {refused / read:.1%}; at most {most_rejected:.1%} may. "
            f"The first reasons: {first}.",
            "Mend the export, or, if the rest is worth having, raise the setting most_rejected.",
        )


class WaitsForDefinitionsError(IngestError):
    """A file names experiments or variants that are unknown while definitions are broken: it may be loaded later."""

    def __init__(self, source: str) -> None:
        self.source = source
        super().__init__(
            f"{in_one_line(source)}: it names experiments or variants that are not known, and some definitions are "
            "broken. It stays where it is; mend what `rampwise validate` names."
        )


class TooLargeSourceError(SourceError):
    """The file grows beyond the limit when it is unpacked; `size`, `limit` in bytes."""

    def __init__(self, source: str, *, size: int, limit: int, packed: int | None = None) -> None:
        self.size, self.limit = size, limit
        packed_words = "" if packed is None else f" from {packed / 1e6:,.1f} MB"
        super().__init__(
            source,
            f"it unpacks to {size / 1e6:,.0f} MB or more{packed_words}; {limit / 1e6:,.0f} MB are allowed.",
            "Check where it comes from, and split it into smaller files.",
        )


def _told(column: str, theirs: str) -> str:
    """How a column that is called differently is named, on the command line and in Python."""
    return f'`--column {column}={theirs}`, in Python columns={{"{column}": "{theirs}"}}'


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
            f"Rename the column, or say which one it is: {_told(column, nearest or 'NAME_IN_THE_FILE')}.",
        )


class AmbiguousColumnError(ColumnError):
    """Several columns could be the one we need; `candidates` lists them."""

    def __init__(self, source: str, column: str, candidates: Sequence[str]) -> None:
        self.candidates = tuple(candidates)
        super().__init__(
            source,
            column,
            f"{' and '.join(candidates)} could both be {column}.",
            f"Say which one it is: {_told(column, candidates[0])}.",
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
            f"{in_one_line(source)} could not be stored: {problem} Nothing of it was kept; files before it were. "
            "Remove the cause and load the same files again: rows that are already there count as duplicates."
        )


class IngesterBusyError(IngestError):
    """Another ingester is at work; `holder` says which, `waited` how many seconds we tried."""

    def __init__(self, landed: Path, *, holder: str, waited: float) -> None:
        self.landed, self.holder, self.waited = landed, holder, waited
        super().__init__(
            f"{holder} is loading files into this workspace; gave up after {waited:.1f} s. "
            "Wait for it to finish, or stop it, and try again: nothing is lost."
        )


class DamagedLandingError(IngestError):
    """The landed files cannot give the warehouse again; `problems` says what is missing or damaged."""

    def __init__(self, landed: Path, problems: Sequence[str]) -> None:
        self.landed, self.problems = landed, tuple(problems)
        listed = "\n".join(f"- {problem}" for problem in problems)
        super().__init__(
            f"The warehouse cannot be made again from {landed} without a loss:\n{listed}\n"
            "Nothing was changed. Put the originals of these files into the inbox or restore the folder from a backup, "
            "then run `rampwise rebuild` again; or go on without them with `rampwise rebuild --without-damaged`."
        )


class LostBatchesError(IngestError):
    """The journal of `landed/` knows committed batches that the warehouse does not: an old copy, or a lost log.

    `known` is the journal's last batch, `found` the warehouse's.
    """

    def __init__(self, path: Path, *, known: int, found: int) -> None:
        self.path, self.known, self.found = path, known, found
        super().__init__(
            f"{path} says that batch {known} was stored, but the warehouse ends at batch {found}: it was lost, cut "
            "off or replaced by an older copy. Nothing was loaded. Run `rampwise rebuild`: it makes the warehouse "
            "again from the landed files."
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
