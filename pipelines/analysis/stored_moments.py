"""Moments as a snapshot keeps them, so that its effects can be computed again."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.analysis.experiment_moments import MetricMoments
from pipelines.store.sums import ArmMoments, MomentsRecord
from stats.moments import Moments
from stats.ratios import Column
from stats.status import Status


def moments_record(order: Sequence[str], variants: Sequence[str], found: MetricMoments) -> MomentsRecord:
    """Moments of one metric.

    Parameters
    ----------
    order
        Variants as the snapshot lists them, control first.
    variants
        The first axis of the Moments.
    """
    outcome = _columns(found.outcome)
    raw = None if found.raw is None else found.raw.select(*outcome)
    return MomentsRecord(
        outcome=outcome,
        covariates=tuple(_columns(each) for each in found.covariates),
        arms=arm_moments(order, variants, found.total),
        raw=() if raw is None else arm_moments(order, variants, raw),
    )


def arm_moments(order: Sequence[str], variants: Sequence[str], cells: Moments) -> tuple[ArmMoments, ...]:
    """Moments whose only axis is the variants, one record each."""
    return tuple(_arm(name, cells[variants.index(name)]) for name in order)


def _arm(name: str, moments: Moments) -> ArmMoments:
    return ArmMoments(
        variant=name,
        n=int(moments.n),
        mean=tuple(_number(each) for each in moments.mean),
        residue=tuple(float(each) for each in moments.residue),
        cross=tuple(tuple(_number(each) for each in row) for row in moments.cross),
        status=Status(int(moments.status)).label,
    )


def _columns(column: Column) -> tuple[int, ...]:
    return (column,) if isinstance(column, int) else column


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
