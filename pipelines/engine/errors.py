"""Errors of the warehouse."""

from __future__ import annotations

from pathlib import Path

from pipelines.engine.migrations import can_migrate
from pipelines.errors import PipelineError


class WarehouseError(PipelineError):
    """The warehouse cannot be used; `path` says which file."""

    def __init__(self, path: Path, message: str) -> None:
        self.path = path
        super().__init__(message)


class WarehouseMissingError(WarehouseError):
    """There is no warehouse to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, f"There is no warehouse at {path}. Load events first with `rampwise ingest`, or try `rampwise demo`."
        )


class WarehouseBusyError(WarehouseError):
    """Another process holds the warehouse; `holder` says which, `waited` how many seconds we tried."""

    def __init__(self, path: Path, *, holder: str, waited: float) -> None:
        self.holder, self.waited = holder, waited
        super().__init__(
            path,
            f"The warehouse {path} is in use by {holder}; gave up after {waited:.1f} s. "
            "Only one process can use it while one writes: wait for that process to finish, or stop it, and try again.",
        )


class WarehouseDamagedError(WarehouseError):
    """The file is not a warehouse of ours, or is damaged; `problem` is what DuckDB says."""

    def __init__(self, path: Path, problem: str) -> None:
        self.problem = problem
        super().__init__(
            path,
            f"{path} cannot be opened as a warehouse: {problem} "
            "Run `rampwise rebuild`: it makes the warehouse again from the landed files and keeps this one.",
        )


class WarehouseUnavailableError(WarehouseError):
    """The system does not let us use the file; `problem` is what it says."""

    def __init__(self, path: Path, problem: str) -> None:
        self.problem = problem
        super().__init__(
            path,
            f"{path} cannot be opened: {problem} Check that it is a file, its permissions and the space on its disk.",
        )


class WarehouseVersionError(WarehouseError):
    """The warehouse was made by another version of rampwise; `found` and `expected` are schema versions."""

    def __init__(self, path: Path, *, found: int, expected: int) -> None:
        self.found, self.expected = found, expected
        newer = "Upgrade rampwise" if found > expected else "Run `rampwise rebuild`"
        if found < expected and can_migrate(found):
            newer = "Run `rampwise ingest --inbox`: it keeps a copy and brings the tables to the present version"
        super().__init__(
            path, f"The warehouse {path} has schema version {found}; this version of rampwise uses {expected}. {newer}."
        )
