"""Errors of the collector."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pipelines.errors import PipelineError, UsageError


class Reason(StrEnum):
    """Why a request was refused; part of the interface, for programs."""

    MALFORMED_JSON = "malformed_json"
    NOT_A_BATCH = "not_a_batch"
    EMPTY_BATCH = "empty_batch"
    INVALID_ROW = "invalid_row"
    UNSUPPORTED_TYPE = "unsupported_content_type"
    UNSUPPORTED_ENCODING = "unsupported_content_encoding"
    BROKEN_ENCODING = "broken_content_encoding"
    BAD_HEADER = "bad_header"
    FOREIGN_HOST = "foreign_host"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    WRONG_METHOD = "wrong_method"
    TOO_SLOW = "request_too_slow"
    BODY_TOO_LARGE = "body_too_large"
    TOO_MANY_ROWS = "too_many_rows"
    ROW_TOO_LARGE = "row_too_large"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    SHUTTING_DOWN = "shutting_down"
    STORAGE_FAILED = "storage_failed"
    DISK_FULL = "disk_full"


class RefusedError(PipelineError):
    """A request that is not accepted; nothing of it is kept.

    Attributes
    ----------
    reason
        For programs.
    retry_after
        Seconds after which the same request may succeed; None where it will not.
    row, field
        Position (from 0) of the first wrong row in the batch and the key in it that is wrong, if one is.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        retry_after: float | None = None,
        row: int | None = None,
        field: str | None = None,
    ) -> None:
        self.reason, self.retry_after, self.row, self.field = reason, retry_after, row, field
        super().__init__(message)


class KeysError(UsageError):
    """Keys cannot be used; `where` says which file or variable, never what is in it."""

    def __init__(self, where: str, problem: str, advice: str) -> None:
        self.where, self.problem = where, problem
        super().__init__(f"{where}: {problem} {advice}")


class OpenToAllError(UsageError):
    """The collector would listen beyond this machine without keys; `host` is the address."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"{host} can be reached from other machines, and no keys are set: anybody could write events. "
            "Set RAMPWISE_COLLECTOR_KEYS or --keys, or listen on 127.0.0.1."
        )


class CollectorBusyError(PipelineError):
    """Another collector writes into the same inbox; `lock` is its lock file."""

    def __init__(self, lock: Path, holder: str) -> None:
        self.lock, self.holder = lock, holder
        super().__init__(
            f"Another collector ({holder}) writes into this workspace already; stop it first. Lock: {lock}."
        )
