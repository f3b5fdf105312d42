"""What a snapshot keeps of one metric for whoever looks closer: values over time, their distribution, any baseline."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict, with_config

from pipelines.store.breakdowns import EffectNumbers

_config = with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null"))


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOverTime:
    """A metric in one variant at the end of every day."""

    variant: str
    """Name of the variant."""
    units: tuple[int, ...]
    """Units analysed by then."""
    values: tuple[float | None, ...]
    """Mean per unit by then; for a ratio metric, the ratio; for a quantile, the quantile."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class OverTime:
    """A metric day by day, from the start to the end of each day."""

    days: tuple[float, ...]
    """Ends of the days, days since the start."""
    arms: tuple[ArmOverTime, ...]
    """Per variant, control first."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDistribution:
    """How many units of one variant lie in each bin."""

    variant: str
    """Name of the variant."""
    units: tuple[int, ...]
    """Units per bin."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The units' values, capped as in the analysis."""

    bins: tuple[tuple[float, float], ...]
    """Ends of each bin, ascending: `low < value <= high` (mirrored below 0), or one value where they are the same."""
    arms: tuple[ArmDistribution, ...]
    """Per variant, control first."""


@_config
@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineEffects:
    """Every other variant against one that is not the control. Exploratory: the plan judges against control only."""

    baseline: str
    """Name of the variant that the others are compared with."""
    effects: tuple[EffectNumbers, ...]
    """One per other variant, control first; `treatment` is that variant."""
