"""What a snapshot keeps so that its effects can be computed again without the units: Moments per variant."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict, with_config

_config = with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null"))


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMoments:
    """All that effects are computed from, of one variant: `stats.moments.Moments` of one cell."""

    variant: str
    """Name of the variant."""
    n: int
    """Units analysed."""
    mean: tuple[float | None, ...]
    """Mean per unit of each column; null without units. For a quantile, the quantile."""
    residue: tuple[float, ...]
    """What rounding took from each mean."""
    cross: tuple[tuple[float | None, ...], ...]
    """Centred cross-products of the columns, summed over units. For a quantile, n (n - 1) times its squared standard
    error."""
    status: str
    """Status of these numbers."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class MomentsRecord:
    """Moments per variant, so that every effect can be computed again without the units."""

    outcome: tuple[int, ...]
    """Which column is the outcome; of a ratio, numerator and denominator."""
    covariates: tuple[tuple[int, ...], ...]
    """Which columns the covariates are, in the order in which they are preferred: one, or a pair for a ratio."""
    arms: tuple[ArmMoments, ...]
    """Per variant, control first; capped where the metric is."""
    raw: tuple[ArmMoments, ...] = ()
    """The outcome alone, without caps; empty where there are none."""
