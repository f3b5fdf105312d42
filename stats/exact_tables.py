"""Exact tests of two proportions: Fisher's, with the conditional odds ratio, and Boschloo's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import special

from stats.binomial import TIE, log_choose
from stats.effect import ALTERNATIVES
from stats.errors import check_choice
from stats.hypergeometric import Table, conditional_odds_ratio, log_probability, log_tails, r_odds_ratio
from stats.moments import Moments
from stats.proportions import paired_counts
from stats.status import BoolArray, FloatArray, StatusArray
from stats.tails import LOG_2

ODDS_RATIOS = ("exact", "r", "none")
_GRID = 256
_PEAKS = 3
_ZOOMS = 8
_Size: TypeAlias = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExactTest:
    """Result of an exact test of two proportions, per cell.

    Attributes
    ----------
    value
        Difference of the proportions, treatment minus control.
    p_value, log_p
        Probability, under equal proportions, of a table at least this extreme, and its natural logarithm.
    odds_ratio
        Conditional maximum-likelihood odds ratio of treatment to control (Fisher); NaN for Boschloo's test.
    status
        `Status` per cell. Exact tests are defined for every table with a unit in each arm.
    """

    value: FloatArray
    p_value: FloatArray
    log_p: FloatArray
    odds_ratio: FloatArray
    status: StatusArray


def fisher(
    control: Moments, treatment: Moments, *, alternative: str = "two-sided", odds_ratio: str = "exact"
) -> ExactTest:
    """Fisher's exact test, conditional on the total number of successes.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column.
    alternative
        ``"two-sided"`` (sums every table that is at most as probable as the observed one), ``"greater"`` (the
        treatment's proportion is larger) or ``"less"``.
    odds_ratio
        ``"exact"``: the conditional maximum-likelihood estimate to double precision. ``"r"``: stopped where R's
        ``fisher.test`` stops, after about six digits; one cell at a time. ``"none"``: NaN, which saves most of the
        time of large tables.

    Returns
    -------
    ExactTest
        The odds ratio is 0 (infinite) where the treatment has the fewest (most) successes that the margins allow; 0
        also where the margins leave a single table, as in R.

    Notes
    -----
    Fisher (1935), Journal of the Royal Statistical Society 98:39-82. Never rejects a true hypothesis more often than
    alpha; with few units much less often: `boschloo` is at least as powerful.

    Examples
    --------
    >>> result = fisher(Moments.from_counts(1, 4), Moments.from_counts(3, 4))
    >>> round(float(result.p_value), 6), round(float(result.odds_ratio), 6)
    (0.485714, 6.40832)
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    check_choice("odds_ratio", odds_ratio, ODDS_RATIOS)
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    log_p, odds = np.full(x_a.shape, np.nan), np.full(x_a.shape, np.nan)
    known = np.isfinite(x_a) & np.isfinite(x_b)
    if known.any():
        table, x = Table(n_a[known], n_b[known], (x_a + x_b)[known]), x_b[known]
        lower, upper = log_tails(table, x)
        if alternative == "two-sided":
            log_p[known] = _two_sided(table, x, lower, upper)
        else:
            log_p[known] = upper if alternative == "greater" else lower
        if odds_ratio != "none":
            odds[known] = conditional_odds_ratio(table, x) if odds_ratio == "exact" else r_odds_ratio(table, x)
    log_p = np.minimum(log_p, 0.0)
    return ExactTest(value=x_b / n_b - x_a / n_a, p_value=np.exp(log_p), log_p=log_p, odds_ratio=odds, status=status)


def boschloo(control: Moments, treatment: Moments, *, alternative: str = "two-sided") -> ExactTest:
    """Boschloo's unconditional exact test: Fisher's one-sided p-value as statistic, the worst nuisance rate as null.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column. Work and memory grow with the units of control times the square root of all units.
    alternative
        ``"greater"``, ``"less"``, or ``"two-sided"``: twice the smaller one-sided p-value, at most 1.

    Notes
    -----
    Boschloo (1970), Statistica Neerlandica 24:1-35. The supremum over the common rate is taken on an arcsine grid and
    refined around its highest peaks. Exact level, and uniformly more powerful than `fisher`.

    Examples
    --------
    >>> result = boschloo(Moments.from_counts(2, 10), Moments.from_counts(8, 11), alternative="greater")
    >>> round(float(result.p_value), 6)
    0.010204
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    log_p = np.full(x_a.shape, np.nan)
    known = np.isfinite(x_a) & np.isfinite(x_b)
    if known.any():
        a, m, b, n = x_a[known], n_a[known], x_b[known], n_b[known]
        sides = []
        if alternative != "less":
            sides.append(_boschloo_greater(a, m, b, n))
        if alternative != "greater":
            # Fewer successes are more failures.
            sides.append(_boschloo_greater(m - a, m, n - b, n))
        log_p[known] = sides[0] if len(sides) == 1 else np.minimum(sides[0], sides[1]) + LOG_2
    log_p = np.minimum(log_p, 0.0)
    return ExactTest(
        value=x_b / n_b - x_a / n_a,
        p_value=np.exp(log_p),
        log_p=log_p,
        odds_ratio=np.full(x_a.shape, np.nan),
        status=status,
    )


def _two_sided(table: Table, x: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Both tails of tables that are at most as probable as the observed one."""
    limit = log_probability(table, x) + TIE
    right = x >= table.mode
    near = table.mode
    far = np.where(right, table.lowest - 1.0, table.highest + 1.0)
    # The first point beyond the mode, on the other side, that is improbable enough; `far` if there is none.
    outside, inside = far.copy(), near.copy()
    while True:
        middle = np.where(right, np.floor((outside + inside) / 2.0), np.ceil((outside + inside) / 2.0))
        open_cells = np.abs(outside - inside) > 1.0
        if not open_cells.any():
            break
        small = log_probability(table, middle) <= limit
        outside = np.where(open_cells & small, middle, outside)
        inside = np.where(open_cells & ~small, middle, inside)
    other_lower, other_upper = log_tails(table, outside)
    both = np.logaddexp(np.where(right, upper, lower), np.where(right, other_lower, other_upper))
    return np.where(log_probability(table, near) <= limit, 0.0, both)


def _boschloo_greater(x_a: FloatArray, n_a: FloatArray, x_b: FloatArray, n_b: FloatArray) -> FloatArray:
    """Logarithm of the one-sided p-value, shape (cells,)."""
    observed = log_tails(Table(n_a, n_b, x_a + x_b), x_b)[1]
    result = np.empty(x_a.shape)
    limit = 2_000_000
    start = 0
    while start < x_a.size:
        # As many cells at once as fit: the tables of all of them lie one after the other.
        sizes = np.cumsum(n_a[start:] + 1.0)
        stop = start + max(1, int(np.searchsorted(sizes, limit)))
        part = slice(start, stop)
        result[part] = _largest_rejection(n_a[part], n_b[part], observed[part])
        start = stop
    # Fisher's p-value bounds Boschloo's from above, and stands in where the sum underflows.
    return np.minimum(np.where(np.isfinite(result), result, observed), observed)


def _largest_rejection(n_a: FloatArray, n_b: FloatArray, observed: FloatArray) -> FloatArray:
    lengths = (n_a + 1.0).astype(np.int64)
    cell = np.repeat(np.arange(n_a.size), lengths)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    first = (np.arange(cell.size) - starts[cell]).astype(np.float64)
    boundary = _rejection_boundary(first, n_a[cell], n_b[cell], observed[cell])
    # Rows of control that never reject add nothing to any sum; the others are all that is evaluated.
    some = boundary <= n_b[cell]
    kept, certain = cell[some], boundary[some] <= 0
    success, failure = first[some], (n_a[cell] - first)[some]
    ways = log_choose(n_a[cell], first)[some]
    inner = np.maximum(boundary[some], 1.0)
    rest = n_b[kept] - inner + 1.0

    def size(rate: FloatArray) -> FloatArray:
        """Probability of the rejection region at one common rate per cell, strictly between 0 and 1."""
        own = np.exp(ways + success * np.log(rate)[kept] + failure * np.log1p(-rate)[kept])
        tail = np.where(certain, 1.0, special.betainc(inner, rest, rate[kept]))
        return np.asarray(np.bincount(kept, own * tail, minlength=n_a.size), np.float64)

    count = int(max(_GRID, 8.0 * np.sqrt(n_a.max() + n_b.max())))
    angle = np.linspace(0.0, np.pi / 2.0, count + 2)[1:-1]
    heights = np.stack([size(np.full(n_a.size, np.sin(t) ** 2)) for t in angle])
    return np.log(_refined_maximum(size, angle, heights))


def _refined_maximum(size: _Size, angle: FloatArray, heights: FloatArray) -> FloatArray:
    """Highest point of a smooth function near the highest peaks of its values on a grid."""
    padded = np.pad(heights, ((1, 1), (0, 0)), constant_values=-1.0)
    peak = (padded[1:-1] >= padded[:-2]) & (padded[1:-1] >= padded[2:])
    order = np.argsort(np.where(peak, heights, -1.0), axis=0)[::-1][:_PEAKS]
    step = angle[1] - angle[0]
    best = heights.max(axis=0)
    for rank in range(_PEAKS):
        centre, half = angle[order[rank]], np.full(best.shape, step)
        for _ in range(_ZOOMS):
            points = [np.clip(centre + half * t, step / 8.0, np.pi / 2.0 - step / 8.0) for t in (-0.5, 0.0, 0.5)]
            values = np.stack([size(np.sin(p) ** 2) for p in points])
            chosen = values.argmax(axis=0)
            centre = np.asarray(np.choose(chosen, points), np.float64)
            best = np.maximum(best, values.max(axis=0))
            half = half / 2.0
    return np.asarray(best, np.float64)


def _rejection_boundary(x_a: FloatArray, n_a: FloatArray, n_b: FloatArray, observed: FloatArray) -> FloatArray:
    """Smallest number of treatment successes that is as extreme as observed, by bisection; n_b + 1 for none."""
    low, high = np.full(x_a.shape, -1.0), n_b + 1.0
    while True:
        open_cells: BoolArray = high - low > 1.0
        if not open_cells.any():
            return high
        middle = np.floor((low + high) / 2.0)
        asked = np.clip(middle, 0.0, n_b)
        extreme = log_tails(Table(n_a, n_b, x_a + asked), asked)[1] <= observed + TIE
        high = np.where(open_cells & extreme, middle, high)
        low = np.where(open_cells & ~extreme, middle, low)
