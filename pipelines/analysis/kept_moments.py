"""Moments of the last look, kept beside the partials: what nothing happened to is not computed again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.columns import Column, MetricColumns
from pipelines.analysis.experiment_moments import Ends, MetricMoments
from pipelines.analysis.maturity import Maturity
from pipelines.analysis.metric_cells import Cells
from pipelines.analysis.partial_files import UNREADABLE, Basis
from pipelines.analysis.partials import PartialKey
from stats.moments import Moments

VERSION = 2
"""To be raised whenever the same units and events shall give other Moments."""
_INDEX, _NUMBERS = "index.json", "numbers.npy"
_PARTS = ("n", "mean", "cross", "status", "residue")
_LOG = logging.getLogger(__name__)
Array = npt.NDArray[Any]


@dataclass(slots=True, kw_only=True)
class KeptMoments:
    """What was kept of the last look, and what will be of this one.

    Attributes
    ----------
    path
        The file, replaced as a whole; it is derived, as the partials are.
    kept
        By metric the digest of all that decides its numbers, and where they lie among `numbers`.
    seen
        By source and funnel its events and the latest of analysed units.
    numbers
        All kept numbers.
    """

    path: Path
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    numbers: Array = field(default_factory=lambda: np.zeros(0))
    _new: dict[str, dict[str, Any]] = field(default_factory=dict)
    _parts: list[Array] = field(default_factory=list)
    _size: int = 0
    _digests: list[tuple[Maturity, str]] = field(default_factory=list)
    _cells: str = ""

    @classmethod
    def of(cls, partials: Path, basis: Basis | None, cells: Cells) -> KeptMoments:
        """What was kept beside partials.

        Parameters
        ----------
        basis
            What the partials are made from, where no unit was touched since; None: nothing that was kept is used.
        """
        found = cls(path=partials.with_suffix(".moments"), _cells=_digest_of_cells(cells))
        if basis is None or not found.path.exists():
            return found
        try:
            with zipfile.ZipFile(found.path) as file:
                index = json.loads(file.read(_INDEX))
                if index["of"] == _of(basis, found._cells):
                    found.numbers = np.lib.format.read_array(BytesIO(file.read(_NUMBERS)), allow_pickle=False)
                    found.kept = index["metrics"]
                    found.seen = {key: (events, latest) for key, (events, latest) in index["seen"].items()}
        except UNREADABLE as error:
            _LOG.warning("%s is not used and will be written anew: %s", found.path, error)
        return found

    def recall(
        self, metric: MetricColumns, when: Maturity, caps: Mapping[tuple[str, int], Ends]
    ) -> MetricMoments | None:
        """A metric's Moments, where the same units count, entered on the same days, and nothing happened to them."""
        kept = self.kept.get(metric.name)
        if kept is None or kept["digest"] != self._digest(metric, when, caps):
            return None
        return _moments_of(metric, when, kept, self.numbers)

    def keep(
        self, metric: MetricColumns, when: Maturity, caps: Mapping[tuple[str, int], Ends], found: MetricMoments
    ) -> None:
        """Keep a metric's Moments."""
        table: dict[str, Any] = {
            "digest": self._digest(metric, when, caps),
            "covariates": list(found.covariates),
            "covariate_names": list(found.covariate_names),
            "caps": list(found.caps),  # open ends are infinite, which Python reads and writes
            "missing": [found.missing.get(each) if isinstance(each, Column) else None for each in metric.outcome],
            "distribution": None if found.distribution is None else [self._put(each) for each in found.distribution],
        }
        for name in ("total", "raw", "daily"):
            moments = getattr(found, name)
            table[name] = None if moments is None else self._put_moments(moments)
        for name in ("by_segment", "by_policy", "segment_daily"):
            table[name] = {key: self._put_moments(each) for key, each in getattr(found, name).items()}
        self._new[metric.name] = table

    @property
    def changed(self) -> bool:
        """Whether anything of this look was not kept before."""
        before, now = ({name: each["digest"] for name, each in part.items()} for part in (self.kept, self._new))
        return before != now

    def finish(self, basis: Basis, seen: Mapping[PartialKey, tuple[int, int | None]]) -> None:
        """Put the file in its place, whole; where that fails (a full disk) nothing is kept, and no analysis stops."""
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        index = {
            "of": _of(basis, self._cells),
            "metrics": self._new,
            "seen": {repr(key): each for key, each in seen.items()},
        }
        try:
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as file:
                with file.open(_NUMBERS, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.concatenate([np.zeros(0), *self._parts]), allow_pickle=False)
                file.writestr(_INDEX, json.dumps(index))
            draft.replace(self.path)
        except OSError as error:
            _LOG.warning("%s cannot be written, so nothing is kept: %s", self.path, error)
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def _put(self, values: Array) -> list[Any]:
        place, self._size = self._size, self._size + values.size
        self._parts.append(np.asarray(values, np.float64).ravel())
        return [place, list(values.shape)]

    def _put_moments(self, moments: Moments) -> list[Any]:
        return [self._put(getattr(moments, name)) for name in _PARTS]

    def _digest(self, metric: MetricColumns, when: Maturity, caps: Mapping[tuple[str, int], Ends]) -> str:
        mine = sorted((place, ends) for (name, place), ends in caps.items() if name == metric.name)
        return hashlib.blake2b(f"{metric!r} {mine!r} {self._digest_of(when)}".encode()).hexdigest()

    def _digest_of(self, when: Maturity) -> str:
        for known, digest in self._digests:
            if known is when:
                return digest
        found = hashlib.blake2b(f"{when.at_once}".encode())
        for each in (when.entered.astype(np.int32), when.final):
            found.update(np.ascontiguousarray(each).data)
        self._digests.append((when, found.hexdigest()))
        return found.hexdigest()


def _of(basis: Basis, cells: str) -> dict[str, Any]:
    return {"version": [VERSION, version("rampwise"), np.__version__], "cells": cells, **asdict(basis)}


def _digest_of_cells(cells: Cells) -> str:
    """A digest of who is in the analysis, and where."""
    found = hashlib.blake2b()

    def assigned(units: Assignments) -> None:
        found.update(repr((units.variants, units.known)).encode())
        for each in (units.variant, units.excluded):
            found.update(np.ascontiguousarray(each).data)

    for array in (cells.assignments.unit_id, cells.assignments.exposed_at):
        found.update(np.ascontiguousarray(array).data)
    assigned(cells.assignments)
    for policy, each in cells.assignments.others.items():
        found.update(policy.encode())
        assigned(each)
    for name, part in cells.segments.items():
        found.update(repr((name, part.values, part.rest)).encode())
        found.update(np.ascontiguousarray(part.code).data)
    for name, numbers in cells.attributes.items():
        found.update(name.encode())
        found.update(np.ascontiguousarray(numbers).data)
    found.update(repr((cells.period.days.size, cells.segment_days, cells.totals_only)).encode())
    return found.hexdigest()


def _moments_of(metric: MetricColumns, when: Maturity, kept: Mapping[str, Any], numbers: Array) -> MetricMoments:
    def take(place: list[Any]) -> Array:
        begins, shape = place
        return numbers[begins : begins + int(np.prod(shape))].reshape(shape)

    def moments(places: list[list[Any]]) -> Moments:
        parts = dict(zip(_PARTS, (take(place) for place in places), strict=True))
        return replace(Moments(**parts), status=np.asarray(parts["status"], np.int8))

    def several(name: str) -> dict[str, Moments]:
        return {key: moments(places) for key, places in kept[name].items()}

    spread = kept["distribution"]
    return MetricMoments(
        columns=metric,
        total=moments(kept["total"]),
        raw=None if kept["raw"] is None else moments(kept["raw"]),
        by_segment=several("by_segment"),
        by_policy=several("by_policy"),
        daily=None if kept["daily"] is None else moments(kept["daily"]),
        segment_daily=several("segment_daily"),
        covariates=tuple(tuple(each) if isinstance(each, list) else each for each in kept["covariates"]),
        covariate_names=tuple(kept["covariate_names"]),
        caps=tuple(None if each is None else (each[0], each[1]) for each in kept["caps"]),
        missing={
            column: events
            for column, events in zip(metric.outcome, kept["missing"], strict=True)
            if events is not None and isinstance(column, Column)
        },
        distribution=None if spread is None else (take(spread[0]), take(spread[1])),
        immature=when.immature,
        matures_at=when.matures_at,
    )
