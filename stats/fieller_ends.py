"""The ends of Fieller's confidence sets: roots of a quadratic whose critical value may depend on the root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stats.means import mean_variance
from stats.moments import Moments
from stats.status import BoolArray, FloatArray
from stats.tails import t_quantile

_ROUNDS = 40
# After these the few cells that have not settled go on together.
_FIRST_ROUNDS = 4
_TOLERANCE = 64.0 * float(np.finfo(np.float64).eps)
# Cells at a time: temporary arrays stay below the 128 KiB from which the C library gives each its own fresh pages.
_BLOCK = 8_192
# An iteration is extrapolated where each round multiplies its error by a factor in this range; it would go astray
# above, where a set is about to become unbounded.
_STEADY = (-4.0, 0.5)
# By how much that factor varies between two rounds, relative to their distance in widths of the interval: a thousand
# times what it mostly is, because next to unbounded sets it can be hundreds.
_CURVATURE = 1e4

Cells: TypeAlias = npt.NDArray[np.intp] | slice
"""Places in the flattened array of all cells."""
ContrastDf: TypeAlias = Callable[[FloatArray, Cells], FloatArray]
"""Degrees of freedom of the contrast ``difference - lift * |baseline|``, given lifts and the cells they belong to."""
ContrastCritical: TypeAlias = Callable[[FloatArray, Cells], FloatArray]
"""Half the interval's width in standard errors of that contrast, given lifts and the cells they belong to."""
CriticalAt: TypeAlias = Callable[[FloatArray, Cells], FloatArray]
"""The same, given degrees of freedom, with which it falls, and the cells they belong to."""


class FiellerKind(IntEnum):
    """Shape of a Fieller confidence set."""

    BOUNDED = 0
    """An ordinary interval."""
    EXTERIOR = 1
    """Everything outside an interval: the control mean cannot be told from 0, the difference can."""
    WHOLE_LINE = 2
    """Every lift is compatible with the data."""
    PIECES = 3
    """Several intervals, because the critical value differs along the line (arms of a few units): the ends enclose
    all of them, and are infinite where one of them is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WelchContrast:
    """Welch's degrees of freedom of ``treatment - (1 + lift) * control``: a `ContrastDf` that knows their range.

    Attributes
    ----------
    signs
        Of the control's mean, shape ``(cells,)`` like all others.
    shares
        Variance of the control's mean over that of the treatment's.
    inverse_a, inverse_b
        One over each arm's own degrees of freedom: no contrast has fewer than the less of both arms.
    """

    signs: FloatArray
    shares: FloatArray
    inverse_a: FloatArray
    inverse_b: FloatArray

    @np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore")
    def __call__(self, lift: FloatArray, cells: Cells) -> FloatArray:
        """Degrees of freedom at lifts of some cells."""
        # `welch_df` from the ratio of the two variances, in place; neither 0 nor infinity harms it.
        ratio = self.signs[cells] * lift
        ratio += 1.0
        ratio *= ratio
        ratio *= self.shares[cells]
        weight, rest = 1.0 / (1.0 + 1.0 / ratio), 1.0 / (1.0 + ratio)
        weight *= weight
        weight *= self.inverse_a[cells]
        rest *= rest
        rest *= self.inverse_b[cells]
        weight += rest
        return 1.0 / weight


def welch_contrast_df(control: Moments, treatment: Moments, *, column: int = 0) -> WelchContrast:
    """Welch's degrees of freedom of ``treatment - (1 + lift) * control``, which weighs the control's variance anew."""
    sign = np.where(control.mean[..., column] < 0, -1.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        share = mean_variance(control, column=column) / mean_variance(treatment, column=column)
        parts = np.broadcast_arrays(sign, share, 1.0 / (control.n - 1.0), 1.0 / (treatment.n - 1.0))
    signs, shares, inverse_a, inverse_b = (part.ravel() for part in parts)
    return WelchContrast(signs=signs, shares=shares, inverse_a=inverse_a, inverse_b=inverse_b)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundSets:
    """Shapes and ends of Fieller sets, one per cell, in lifts.

    Attributes
    ----------
    kind
        `FiellerKind`.
    low, high
        Ends of the smallest interval that holds the set.
    gap_low, gap_high
        For ``EXTERIOR`` the ends of the excluded interval; NaN otherwise.
    """

    kind: npt.NDArray[np.int8]
    low: FloatArray
    high: FloatArray
    gap_low: FloatArray
    gap_high: FloatArray

    @classmethod
    def joined(cls, parts: Sequence[FoundSets]) -> FoundSets:
        """One after the other."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def with_cells(self, cells: npt.NDArray[np.intp], found: FoundSets) -> FoundSets:
        """The same, with other sets in some places."""
        changed = {field.name: getattr(self, field.name).copy() for field in fields(self)}
        for name, values in changed.items():
            values[cells] = getattr(found, name)
        return FoundSets(**changed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FiellerSets:
    """Sets of all r with ``(u - r)**2 <= t**2 (v_d - 2 r c + r**2 v_a)``, one per cell; a critical value t gives ends.

    Attributes
    ----------
    u, v_a, c
        Difference, the baseline's variance and their covariance in units of the baseline (u of its size), shape
        ``(cells,)``; v_d is the variance of the difference.
    at_u
        Variance of the contrast at ``r = u``.
    rest
        ``v_d v_a - c**2``.
    """

    u: FloatArray
    v_a: FloatArray
    c: FloatArray
    at_u: FloatArray
    rest: FloatArray

    @classmethod
    @np.errstate(invalid="ignore", divide="ignore", over="ignore")
    def of(
        cls, difference: FloatArray, se: FloatArray, baseline: FloatArray, variance: FloatArray, covariance: FloatArray
    ) -> FiellerSets:
        """From differences, their standard errors, baselines, their variances and covariances, all of one shape."""
        d, s, a, var, cov = (x.ravel() for x in (difference, se, baseline, variance, covariance))
        u, square = d / np.abs(a), a * a
        v_d, v_a, c = (s / a) ** 2, var / square, np.where(a < 0, -1.0, 1.0) * cov / square
        v_d, v_a = np.where(np.isfinite(v_d), v_d, np.nan), np.where(np.isfinite(v_a), v_a, np.nan)
        # Small-sample corrections of the one variance and not of the other must not correlate beyond 1.
        most = np.sqrt(v_d * v_a)
        c = np.clip(c, -most, most)
        return cls(u=u, v_a=v_a, c=c, at_u=v_d - 2.0 * u * c + u * u * v_a, rest=v_d * v_a - c * c)

    def ends(self, critical: FloatArray, cells: Cells) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Centre, half the distance of the ends, and two numbers: positive where bounded, negative without an end."""
        t2 = critical * critical
        lead = 1.0 - t2 * self.v_a[cells]
        # u**2 has been cancelled by hand: the discriminant keeps its digits when the lift is far from 0.
        inner = self.at_u[cells] - t2 * self.rest[cells]
        half = np.sqrt(t2 * np.maximum(inner, 0.0))
        half /= np.abs(lead)
        t2 *= self.c[cells]
        centre = self.u[cells] - t2
        centre /= lead
        return centre, half, lead, inner


def fixed_sets(critical: FloatArray, sets: FiellerSets) -> FoundSets:
    """Sets with one critical value per cell, shape ``(cells,)``: roots of their quadratics."""
    centre, half, lead, inner = sets.ends(critical, slice(0, critical.size))
    low, high, unbounded = centre - half, centre + half, ~(lead > 0)
    kind = np.zeros(low.size, np.int8)
    gap_low, gap_high = np.full(low.size, np.nan), np.full(low.size, np.nan)
    kind[unbounded] = FiellerKind.WHOLE_LINE
    gap = unbounded & (inner >= 0)
    kind[gap], gap_low[gap], gap_high[gap] = FiellerKind.EXTERIOR, low[gap], high[gap]
    low[unbounded], high[unbounded] = -np.inf, np.inf
    return FoundSets(kind=kind, low=low, high=high, gap_low=gap_low, gap_high=gap_high)


def surely_intervals(
    sets: FiellerSets, degrees: WelchContrast, critical_at: CriticalAt, *, tail: float | None = None
) -> BoolArray:
    """Where the set is one interval that the widest of its critical values bounds already, shape ``(cells,)``.

    Parameters
    ----------
    tail
        Where the critical value is Student's quantile, its upper probability: it spares most cells a closer look.

    Notes
    -----
    Let w be the control's part of the variance of the contrast at the ratio s, and e how fast the logarithm of the
    critical value falls with that of its degrees of freedom. Per unit of log(s) the statistic's logarithm grows by
    ``s / (s - estimate) - w`` above the estimate and falls by ``s / (estimate - s) + w`` below. Welch's degrees of
    freedom fall by at most ``4 (1 - w)``, only above the w at which they are most, and grow by at most ``4 w``, only
    below it: the critical value grows by at most ``4 e (1 - w)`` and falls by at most ``4 e w``. Where that is slower,
    both meet once on either side; with ``e <= 1/4`` everywhere, which is Student's e from ``2 + 1.2 z**2`` degrees of
    freedom on. Neither an infinite ratio nor 0 may be in the set: beyond them no statistic is less than the less of
    theirs.
    """
    enough = np.zeros(sets.u.size, np.bool_)
    if tail is not None:
        z = float(t_quantile(tail, np.inf))
        fewest = 2.0 + 1.2 * z * z
        square = float(t_quantile(tail, fewest)) ** 2
        centre = sets.u * sets.v_a
        centre -= sets.c
        centre *= centre
        enough = np.maximum(degrees.inverse_a, degrees.inverse_b) <= 1.0 / fewest
        enough &= (square * sets.v_a < 1.0) & (square * sets.rest * sets.v_a < centre)
    few = np.flatnonzero(~enough & (sets.rest > 0))
    enough[few] = _narrow(sets, degrees, critical_at, few)
    return enough


def _narrow(
    sets: FiellerSets, degrees: WelchContrast, critical_at: CriticalAt, cells: npt.NDArray[np.intp]
) -> BoolArray:
    """The same of some cells, each by its own e at its fewest degrees of freedom, where it is largest."""
    a, b = degrees.inverse_a[cells], degrees.inverse_b[cells]
    df = 1.0 / np.maximum(a, b)
    widest = critical_at(df, cells)
    # A difference quotient falls short of the slope by less than half its step, since the slope falls with df.
    step = 1e-3
    more = 4.0 * (1.0 + step) * np.log(widest / critical_at(df * (1.0 + step), cells)) / np.log1p(step) - 1.0
    more = np.maximum(more, 0.0)
    centre, half, lead, inner = sets.ends(widest, cells)
    ratio = np.abs(sets.u[cells] - sets.c[cells] / sets.v_a[cells])
    middle = np.abs(centre - sets.c[cells] / sets.v_a[cells])
    near, far = middle - half, middle + half
    surely = np.asarray((lead > 0) & (inner >= 0) & (near > 0), np.bool_)
    surely &= near * (a + b) > more * b * (ratio - near)
    surely &= far * (a + b) > (a + b + more * a) * (far - ratio)
    return surely


def refined_end(end: FloatArray, side: float, critical: ContrastCritical, sets: FiellerSets) -> FloatArray:
    """Move an end until its own contrast's critical value gives it back, to the last digits of the interval's width.

    Parameters
    ----------
    end
        Where to start, shape ``(cells,)``; what is not finite stays what it is.
    side
        -1 for lower ends, 1 for upper ones.

    Returns
    -------
    FloatArray
        Shape ``(cells,)``; NaN where no end was found.

    Notes
    -----
    Fixed-point iteration, extrapolated by Aitken's method (Henrici 1964, Elements of Numerical Analysis, chapter 4).
    Where the set at an end is not bounded any more the plain iteration has another try.
    """
    found = end.copy()
    lost, unsettled = [], []
    for start in range(0, end.size, _BLOCK):
        block = slice(start, min(start + _BLOCK, end.size))
        astray, left = _iterate(found, side, critical, sets, block, _STEADY, _FIRST_ROUNDS)
        lost.append(astray)
        unsettled.append(left)
    lost.extend(_iterate(found, side, critical, sets, np.concatenate(unsettled), _STEADY, _ROUNDS))
    again = np.concatenate(lost)
    found[again] = end[again]
    found[np.concatenate(_iterate(found, side, critical, sets, again, (0.0, 0.0), _ROUNDS))] = np.nan
    return found


def _iterate(
    found: FloatArray,
    side: float,
    critical: ContrastCritical,
    sets: FiellerSets,
    cells: Cells,
    steady: tuple[float, float],
    rounds: int,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Refine some cells' ends in place; returns those that met an unbounded set, and those not settled yet."""
    places = np.arange(found.size)[cells]
    at = found[cells].copy()
    previous: tuple[FloatArray, FloatArray] | None = None
    lost = [places[:0]]
    for _ in range(rounds if places.size else 0):
        centre, half, lead, _inner = sets.ends(critical(at, cells), cells)
        image = centre + side * half
        step = image - at
        allowed = _TOLERANCE * np.maximum(np.abs(image), 2.0 * half)
        bounded = lead > 0
        going = bounded & (np.abs(step) > allowed)
        following = image
        if previous is not None:
            distance = at - previous[0]
            slope = (image - previous[1]) / distance
            gain = slope / (1.0 - slope) * step
            error = np.abs(gain) * np.minimum(_CURVATURE * _TOLERANCE * np.abs(distance) / allowed, 1.0)
            smooth = (slope > steady[0]) & (slope < steady[1])
            following = np.where(smooth, image + gain, image)
            going &= ~(smooth & (error <= allowed))
        if not bounded.all():
            lost.append(places[~bounded & np.isfinite(at)])
            following = np.where(bounded, following, at)
        found[cells] = following
        left = np.flatnonzero(going)
        cells = places = places[left]
        if not left.size:
            break
        previous, at = (at[left], image[left]), following[left]
    return np.concatenate(lost), places
