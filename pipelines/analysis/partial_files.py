"""Partials on disk: one file per experiment, replaced as a whole. It is derived: deleting it only costs time."""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.analysis.columns import UnitColumn
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.partials import Needs, Partial, PartialKey
from pipelines.config import Workspace
from pipelines.errors import PipelineError
from stats.status import FloatArray

VERSION = 1
META, UNIT_IDS, EXPOSED_AT = "meta.json", "unit_id", "exposed_at"
UNREADABLE = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError)
_INTEGERS = (np.uint8, np.int16, np.int32)
_LOG = logging.getLogger(__name__)
Array = npt.NDArray[Any]


def partials_folder(workspace: Workspace) -> Path:
    """Where a workspace keeps numbers per unit and day between looks; may be deleted at any time."""
    return workspace.warehouse_path.parent / "partials"


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What partials were made from; they are of use where it is the same or has only grown.

    Attributes
    ----------
    start
        What days are counted from, microseconds since 1970.
    until
        Events at or after it were left out, microseconds since 1970.
    look_back_days
        Days before first exposure from which on events were read.
    batch
        The last batch of the ledger.
    ledger
        Digest of the ledger up to that batch: another one means another warehouse.
    """

    start: int
    until: int
    look_back_days: float
    batch: int
    ledger: str


class PartialsUnreadableError(PipelineError):
    """Partials that were kept cannot be read to the end.

    Attributes
    ----------
    path
        The file.
    """

    def __init__(self, path: Path, error: Exception) -> None:
        self.path = path
        super().__init__(
            f"{path} is damaged ({error}). It is derived from the warehouse: delete it, or analyse with --refresh."
        )


class PartialFile:
    """Partials that were kept, read one at a time; each member has a checksum.

    Attributes
    ----------
    basis
        What they were made from.
    unit_id, exposed_at
        The units they count, ascending, and the first exposure of each in microseconds since 1970.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(path)
        meta = json.loads(self._zip.read(META))
        if meta["version"] != VERSION:
            self._zip.close()
            raise ValueError(f"{path} has layout {meta['version']}, this is {VERSION}.")
        self._keys: dict[str, dict[str, Any]] = meta["partials"]
        self.basis = Basis(**meta["basis"])
        self.unit_id: Integers = self._array(UNIT_IDS).astype(np.int64)
        self.exposed_at: Integers = self._array(EXPOSED_AT).astype(np.int64)

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def layout(self, key: PartialKey, needs: Needs) -> Needs | None:
        """How a partial keeps the wanted columns; None where it does not have them all."""
        kept = self._keys.get(repr(key))
        if kept is None or not all(repr(c) in kept["over"] for c in needs.over):
            return None
        if not all(repr(c) in kept["final"] or repr(c) in kept["over"] for c in needs.final):
            return None
        return Needs(final=dict(needs.final), over={c: None for c in needs.final if repr(c) in kept["over"]})

    def partial(self, key: PartialKey, layout: Needs) -> Partial:
        """One source's columns.

        Raises
        ------
        PartialsUnreadableError
            If the file is damaged.
        """
        try:
            return self._partial(key, layout)
        except UNREADABLE as error:
            raise PartialsUnreadableError(self.path, error) from error

    def _partial(self, key: PartialKey, layout: Needs) -> Partial:
        kept = self._keys[repr(key)]
        name = kept["name"]
        owner = self._array(f"{name}/owner").astype(np.int64)
        lengths = self._array(f"{name}/lengths").astype(np.int64)
        first = np.cumsum(lengths) - lengths

        def columns(kind: str, wanted: tuple[UnitColumn, ...]) -> dict[UnitColumn, FloatArray]:
            places = [(c, kept[kind][repr(c)]) for c in wanted]
            return {c: self._array(f"{name}/{kind}/{place}").astype(np.float64) for c, place in places}

        silent = [c for c in layout.final if repr(c) in kept["silent"]]
        return Partial(
            owner=owner,
            first=first,
            unit=np.repeat(owner, lengths),
            day=self._array(f"{name}/day").astype(np.int64),
            final=columns("final", layout.only_final()),
            over=columns("over", tuple(layout.over)),
            events=self._array(f"{name}/events").astype(np.int64),
            latest=self._array(f"{name}/latest").astype(np.int64),
            silent={c: each.astype(np.int64) for c, each in columns("silent", tuple(silent)).items()},
        )

    def _array(self, name: str) -> Array:
        return np.lib.format.read_array(BytesIO(self._zip.read(name)), allow_pickle=False)


class PartialWriter:
    """Writes partials beside those that are kept, and puts them in their place at the end."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._draft = path, path.with_name(f"{path.name}.{os.getpid()}.part")
        self._zip = zipfile.ZipFile(self._draft, "w", zipfile.ZIP_STORED)
        self._keys: dict[str, dict[str, Any]] = {}
        self._failed, self._count = False, 0

    def add(self, key: PartialKey, partial: Partial) -> None:
        """Write one source's columns; where that fails (a full disk) nothing is kept, and no analysis stops for it."""
        if self._failed:
            return
        try:
            self._keys[repr(key)] = self._add(f"p{self._count}", partial)
            self._count += 1
        except OSError as error:
            self._fail(error)

    def finish(self, basis: Basis, unit_id: Integers, exposed_at: Integers) -> None:
        """Put the file in its place, whole."""
        if self._failed:
            return
        try:
            self._write(UNIT_IDS, unit_id)
            self._write(EXPOSED_AT, exposed_at)
            self._zip.writestr(META, json.dumps({"version": VERSION, "basis": asdict(basis), "partials": self._keys}))
            self._zip.close()
            self._draft.replace(self._path)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._failed = True
        _LOG.warning("%s cannot be written, so nothing is kept: %s", self._path, error)

    def _add(self, name: str, partial: Partial) -> dict[str, Any]:
        lengths = np.diff(np.append(partial.first, partial.unit.size))
        for part, values in (("owner", partial.owner), ("lengths", lengths), ("day", partial.day)):
            self._write(f"{name}/{part}", values)
        self._write(f"{name}/events", partial.events)
        self._write(f"{name}/latest", partial.latest)
        kept: dict[str, Any] = {"name": name}
        groups: dict[str, Mapping[UnitColumn, Array]] = {
            "final": partial.final,
            "over": partial.over,
            "silent": partial.silent,
        }
        for kind, columns in groups.items():
            kept[kind] = {repr(column): place for place, column in enumerate(columns)}
            for place, values in enumerate(columns.values()):
                self._write(f"{name}/{kind}/{place}", values)
        return kept

    def abandon(self) -> None:
        """Leave what was kept as it is."""
        with suppress(OSError, ValueError):
            self._zip.close()
        self._draft.unlink(missing_ok=True)

    def _write(self, name: str, values: Array) -> None:
        with self._zip.open(name, "w", force_zip64=True) as member:
            np.lib.format.write_array(member, narrow(values), allow_pickle=False)


def start_writing(path: Path) -> PartialWriter | None:
    """A writer; None where nothing can be written: then nothing is kept."""
    try:
        return PartialWriter(path)
    except OSError as error:
        _LOG.warning("%s cannot be written, so nothing is kept: %s", path, error)
        return None


def narrow(values: Array) -> Array:
    """The same numbers in the smallest type that holds them all exactly."""
    if not values.size:
        return values
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            if not (np.isfinite(values).all() and np.array_equal(np.rint(values), values)):
                small = values.astype(np.float32)
                return small if np.array_equal(small, values) else values
        if np.abs(values).max() > np.iinfo(np.int32).max:
            return values
    least, most = values.min(), values.max()
    for kind in _INTEGERS:
        if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
            return values.astype(kind)
    return values


def open_partials(path: Path) -> PartialFile | None:
    """The partials at a path; None where there are none, or they cannot be read: then all is read anew."""
    try:
        return PartialFile(path)
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        _LOG.warning("%s is not used and will be written anew: %s", path, error)
        return None
