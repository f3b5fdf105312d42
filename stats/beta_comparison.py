"""Two independent beta distributions: which is larger, by how much on average, and the spread of their contrast.

Deterministic sums, accurate in relative terms also where a probability is 1e-200 or the counts are 1e9. Positions are
kept as log-odds relative to a distribution's own mean, so that nothing is lost in the difference of two rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.roots import bracketed_root
from stats.status import BoolArray, FloatArray

# The sums stop where the integrand has fallen by exp(-DEPTH) from its peak.
DEPTH = 45.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
# Further than this from the peak a density of log-odds is a plain exponential.
_BEND = 12.0
_HALVINGS = 40
_SERIES = 80
# Rules on (-1, 1) for a contrast's distribution: tanh-sinh copes with ends where the integrand starts like a root;
# where both distributions have left 0 and 1 behind the integrand is smooth.
_S = 0.08 * np.arange(-40, 41)
_ROUGH = np.tanh(0.5 * np.pi * np.sinh(_S)), 0.04 * np.pi * np.cosh(_S) / np.cosh(0.5 * np.pi * np.sinh(_S)) ** 2
_SMOOTH = _NODES, _WEIGHTS
_SMOOTH_FROM = 6.0
_CONTRAST_DEPTH = 30.0
_CONTRAST_ACCURACY = 1e-9
_LARGEST_LOG_RATIO = 700.0


@dataclass(frozen=True, slots=True)
class Betas:
    """Beta distributions, one per cell; flat arrays of positive parameters."""

    a: FloatArray
    b: FloatArray

    @property
    def total(self) -> FloatArray:
        """Sum of the parameters."""
        return self.a + self.b

    @property
    def mean(self) -> FloatArray:
        """Mean."""
        return self.a / self.total

    @property
    def log_odds(self) -> FloatArray:
        """Log-odds of the mean."""
        return np.asarray(np.log(self.a) - np.log(self.b), np.float64)

    @property
    def spread(self) -> FloatArray:
        """About one standard deviation of the log-odds."""
        return np.asarray(np.sqrt(1.0 / self.a + 1.0 / self.b), np.float64)

    def where(self, chosen: BoolArray, other: Betas) -> Betas:
        """These where `chosen`, the others elsewhere."""
        return Betas(np.where(chosen, self.a, other.a), np.where(chosen, self.b, other.b))

    def mirrored(self) -> Betas:
        """Distribution of 1 - X."""
        return Betas(self.b, self.a)

    def column(self) -> Betas:
        """A trailing axis for nodes."""
        return Betas(self.a[:, np.newaxis], self.b[:, np.newaxis])


def excess_parts(control: Betas, treatment: Betas) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """``P(B > A), P(A > B), E[max(B - A, 0)], E[max(A - B, 0)]`` per cell: A of control, B of treatment.

    The narrower distribution (in log-odds) is summed over, the wider enters through its smooth integrals; the other
    direction is the same problem for 1 - A and 1 - B. So all four are sums of positive terms.
    """
    narrow_is_b = treatment.spread <= control.spread
    narrow, wide = treatment.where(narrow_is_b, control), control.where(narrow_is_b, treatment)
    above, gain = _above(narrow, wide)
    below, loss = _above(narrow.mirrored(), wide.mirrored())
    return (
        np.where(narrow_is_b, above, below),
        np.where(narrow_is_b, below, above),
        np.where(narrow_is_b, gain, loss),
        np.where(narrow_is_b, loss, gain),
    )


def contrast_quantiles(control: Betas, treatment: Betas, probability: float, *, relative: bool) -> FloatArray:
    """Quantile of B - A, or of ``B / A - 1``, for A of `control` and B of `treatment`, per cell.

    ``P(B <= A + d)`` is the mean over the narrower distribution of the other's distribution function, taken where
    that lies between 0 and 1; where it is 1, the mass beyond is added.
    """
    over_b = treatment.spread <= control.spread
    narrow, wide = treatment.where(over_b, control), control.where(over_b, treatment)
    peak = np.zeros_like(narrow.a)
    low, high = _support(narrow, None, peak, _outskirts(narrow, peak), _CONTRAST_DEPTH)
    contrast = _Contrast(narrow, wide, over_b, low, high, relative)
    centre, sd = _rough_scale(control, treatment, relative=relative)
    start = centre + special.ndtri(probability) * sd
    smallest = np.minimum(np.minimum(narrow.a, narrow.b), np.minimum(wide.a, wide.b))
    root = np.full_like(start, np.nan)
    for group, rule in ((smallest < _SMOOTH_FROM, _ROUGH), (smallest >= _SMOOTH_FROM, _SMOOTH)):
        index = np.flatnonzero(group)
        if index.size:
            root[index] = _solved(contrast.rows(index), rule, probability, start[index], sd[index])
    return np.asarray(np.expm1(root) if relative else root, np.float64)


@dataclass(frozen=True, slots=True)
class _Contrast:
    """Rows of pairs whose difference, or log ratio, B against A is summed over the narrower of the two."""

    narrow: Betas
    wide: Betas
    over_b: BoolArray
    low: FloatArray
    high: FloatArray
    relative: bool

    def rows(self, index: npt.NDArray[np.int_]) -> _Contrast:
        narrow, wide = Betas(self.narrow.a[index], self.narrow.b[index]), Betas(self.wide.a[index], self.wide.b[index])
        return _Contrast(narrow, wide, self.over_b[index], self.low[index], self.high[index], self.relative)

    def chance_at_most(self, contrast: FloatArray, rule: tuple[FloatArray, FloatArray]) -> FloatArray:
        """``P(B - A <= contrast)`` or ``P(log(B / A) <= contrast)``."""
        narrow, wide = self.narrow, self.wide
        move = np.where(self.over_b, -contrast, contrast)
        if self.relative:
            first, last = np.zeros_like(move), np.exp(np.minimum(-move, 0.0))
        else:
            first, last = np.maximum(-move, 0.0), np.minimum(1.0 - move, 1.0)
        # What the sum leaves out: beyond the end where the other's share is certain.
        full_a = np.where(last < 1.0, _lower_tail(narrow.mirrored(), 1.0 - last, last), 0.0)
        full_b = np.where(first > 0.0, _lower_tail(narrow, first, 1.0 - first), 0.0)
        with np.errstate(divide="ignore"):
            ends = [np.clip(special.logit(end) - narrow.log_odds, self.low, self.high) for end in (first, last)]
        edges = np.stack([ends[0], np.clip(0.0, ends[0], ends[1]), ends[1]], axis=-1)
        half = np.diff(edges, axis=-1)[..., np.newaxis] / 2.0
        t = (edges[:, :-1, np.newaxis] + half * (1.0 + rule[0])).reshape(move.size, -1)
        weights = (half * rule[1]).reshape(move.size, -1)
        n, w = narrow.column(), wide.column()
        x, rest = _position(n, t)
        shift = move[:, np.newaxis]
        at = x * np.exp(shift) if self.relative else x + shift
        beyond = 1.0 - at if self.relative else rest - shift
        side = self.over_b[:, np.newaxis]
        tail = _lower_tail(w.mirrored().where(side, w), np.where(side, beyond, at), np.where(side, at, beyond))
        summed = np.einsum("cn,cn,cn->c", weights, np.exp(_log_density(n, t)), tail)
        return np.asarray(summed + np.where(self.over_b, full_b, full_a), np.float64)


def _solved(
    contrast: _Contrast, rule: tuple[FloatArray, FloatArray], probability: float, start: FloatArray, sd: FloatArray
) -> FloatArray:
    """Where the distribution of the contrast reaches `probability`: secants in probits, bisection where they fail."""
    target, widest = special.ndtri(probability), _LARGEST_LOG_RATIO if contrast.relative else 1.0

    def probit(rows: _Contrast, c: FloatArray) -> FloatArray:
        return np.asarray(special.ndtri(np.clip(rows.chance_at_most(c, rule), 0.0, 1.0)) - target, np.float64)

    root, left = np.array(start), np.arange(start.size)
    before, c = np.clip(start - 0.2 * sd, -widest, widest), np.clip(start, -widest, widest)
    f_before = probit(contrast, before)
    for _ in range(12):
        rows = contrast.rows(left)
        f = probit(rows, c)
        with np.errstate(invalid="ignore", divide="ignore"):
            after = np.clip(c - f * (c - before) / (f - f_before), -widest, widest)
        done = np.abs(f) < _CONTRAST_ACCURACY
        root[left[done]] = c[done]
        going = ~done & np.isfinite(after)
        lost = ~done & ~going
        root[left[lost]] = np.nan
        left, before, c, f_before = left[going], c[going], after[going], f[going]
        if not left.size:
            break
    root[left] = np.nan
    open_rows = np.flatnonzero(np.isnan(root))
    if open_rows.size:
        rows, width = contrast.rows(open_rows), np.full(open_rows.size, widest)
        root[open_rows] = bracketed_root(
            lambda c: rows.chance_at_most(c, rule) - probability, -width, width, accuracy=1e-10
        )
    return root


def _rough_scale(control: Betas, treatment: Betas, *, relative: bool) -> tuple[FloatArray, FloatArray]:
    """Rough centre and standard deviation of the contrast: where to look first."""
    p, q = control.mean, treatment.mean
    if relative:
        variance = (1.0 - p) / (control.total * p) + (1.0 - q) / (treatment.total * q)
        return np.log(q) - np.log(p), np.sqrt(variance)
    return q - p, np.sqrt(p * (1.0 - p) / control.total + q * (1.0 - q) / treatment.total)


def _above(narrow: Betas, wide: Betas) -> tuple[FloatArray, FloatArray]:
    """``P(N > W)`` and ``E[max(N - W, 0)]``."""
    offset = narrow.log_odds - wide.log_odds
    # The logarithm of density times distribution is concave: its slope changes sign once, between the two means.
    low, high = np.minimum(-offset, 0.0), np.maximum(-offset, 0.0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        rising = _slope(narrow, wide, offset, middle) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    peak = 0.5 * (low + high)
    low, high = _support(narrow, wide, peak, _outskirts(narrow, -offset))
    t, weights = _split_nodes(low, peak, high)
    n, w = narrow.column(), wide.column()
    weights = weights * np.exp(_log_density(n, t))
    x, rest = _position(n, t)
    shifted = t + offset[:, np.newaxis]
    lower = _lower_tail(w, x, rest)
    chance = np.einsum("cn,cn->c", weights, lower)
    excess = np.einsum("cn,cn->c", weights, _mean_excess(w, x, shifted, lower))
    return np.minimum(chance, 1.0), excess


def _outskirts(narrow: Betas, other: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log-odds surely outside the sum, for a peak between 0 and `other`: the tails fall at least like ``exp(-a t)``."""
    far, wide = DEPTH + 5.0, 10.0 * narrow.spread
    return np.minimum(other, 0.0) - far / narrow.a - wide, np.maximum(other, 0.0) + far / narrow.b + wide


def _support(
    narrow: Betas, wide: Betas | None, peak: FloatArray, ends: tuple[FloatArray, FloatArray], depth: float = DEPTH
) -> tuple[FloatArray, FloatArray]:
    """Where the density of `narrow` (times the distribution function of `wide`) has fallen by ``exp(-depth)``."""

    def height(t: FloatArray) -> FloatArray:
        value = _log_density(narrow, t)
        if wide is None:
            return value
        with np.errstate(divide="ignore"):
            return np.asarray(value + np.log(_lower_tail(wide, *_position(narrow, t))), np.float64)

    floor = height(peak) - depth
    found = []
    for outer in ends:
        inside, outside = peak.copy(), outer.copy()
        for _ in range(_HALVINGS // 2):
            middle = 0.5 * (inside + outside)
            high = height(middle) > floor
            inside, outside = np.where(high, middle, inside), np.where(high, outside, middle)
        found.append(outside)
    return found[0], found[1]


def _split_nodes(low: FloatArray, peak: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes in two panels on each side of the peak, shape ``(cells, nodes)``."""
    left = peak - np.minimum((peak - low) / 3.0, _BEND)
    right = peak + np.minimum((high - peak) / 3.0, _BEND)
    edges = np.stack([low, left, peak, right, high], axis=-1)
    half = np.diff(edges, axis=-1)[..., np.newaxis] / 2.0
    nodes = edges[:, :-1, np.newaxis] + half * (1.0 + _NODES)
    shape = (low.size, 4 * _NODES.size)
    return nodes.reshape(shape), (half * _WEIGHTS).reshape(shape)


def _log_density(beta: Betas, t: FloatArray) -> FloatArray:
    """Log density of the log-odds, at `t` above the log-odds of the mean.

    ``x**a (1 - x)**b / B(a, b)`` relative to its value at the mean, and Stirling's form of the latter (DLMF 5.11.1).
    """
    n, a, b = beta.total, beta.a, beta.b
    constant = 0.5 * (np.log(a) + np.log(b) - np.log(n) - np.log(2.0 * np.pi))
    constant = constant + _stirling(n) - _stirling(a) - _stirling(b)
    return np.asarray(constant - _descent(beta, t), np.float64)


def _descent(beta: Betas, t: FloatArray) -> FloatArray:
    """``n log(1 - m + m exp(t)) - a t``: how far the log density has fallen since the mean.

    Written for the smaller of m and 1 - m: multiplied by counts of 1e9, only a form without cancellation will do.
    """
    low = beta.a <= beta.b
    share, rate = np.where(low, beta.mean, beta.b / beta.total), np.where(low, beta.a, beta.b)
    u = np.where(low, t, -t)
    beyond = u > 30.0
    near = np.log1p(share * np.expm1(np.where(beyond, 0.0, u)))
    with np.errstate(under="ignore"):
        rest = (1.0 - share) / share * np.exp(-np.where(beyond, u, 30.0))
        far = np.where(beyond, u, 0.0) + np.log(share) + np.log1p(rest)
    return np.asarray(beta.total * np.where(beyond, far, near) - rate * u, np.float64)


def _position(beta: Betas, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The proportion x at log-odds `t` above those of the mean, and 1 - x, each to full relative accuracy."""
    at = t + beta.log_odds
    with np.errstate(under="ignore"):
        return np.exp(-np.logaddexp(0.0, -at)), np.exp(-np.logaddexp(0.0, at))


def _lower_tail(beta: Betas, x: FloatArray, rest: FloatArray) -> FloatArray:
    """``P(X <= x)``, from whichever of x and 1 - x is the smaller."""
    small = x <= 0.5
    direct = special.betainc(beta.a, beta.b, np.clip(np.where(small, x, 0.5), 0.0, 1.0))
    return np.where(small, direct, special.betaincc(beta.b, beta.a, np.clip(np.where(small, 0.5, rest), 0.0, 1.0)))


def _slope(narrow: Betas, wide: Betas, offset: FloatArray, t: FloatArray) -> FloatArray:
    """Derivative of log(density of narrow x distribution function of wide)."""
    x, rest = _position(narrow, t)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.exp(_log_density(wide, t + offset) - np.log(_lower_tail(wide, x, rest)))
    # Where the distribution function underflows, everything of weight lies to the right.
    return np.where(np.isnan(ratio), np.inf, narrow.a * rest - narrow.b * x + ratio)


def _mean_excess(beta: Betas, x: FloatArray, t: FloatArray, lower: FloatArray) -> FloatArray:
    """``E[max(x - X, 0)]``; `t` is the log-odds of x above that of the mean, `lower` is ``P(X <= x)``.

    ``(x - mean) P(X <= x) + x**a (1 - x)**b / ((a + b) B(a, b))``; far below the mean, where the two cancel, their
    power series in x (DLMF 8.17.8 for both), whose terms are all positive.
    """
    n, m = beta.total, beta.mean
    density = np.exp(_log_density(beta, t))
    near = np.abs(t) < 1.0
    rise = np.expm1(np.where(near, t, 0.0))
    distance = np.where(near, m * (beta.b / n) * rise / (1.0 + m * rise), x - m)
    closed = np.maximum(distance * lower + density / n, 0.0)
    small = x * np.maximum(n / (beta.a + 1.0), 1.0) < 0.5
    if not small.any():
        return closed
    z = np.where(small, x, 0.0)
    term, series = np.ones_like(z), np.zeros_like(z)
    for j in range(_SERIES):
        series += term * (n + j * beta.b) / (n * (beta.a + 1.0 + j))
        term = term * z * (n + j) / (beta.a + 1.0 + j)
    return np.where(small, density * z / beta.a * series, closed)


def _stirling(z: FloatArray) -> FloatArray:
    """What Stirling's formula leaves out of ``log Gamma(z)``."""
    large = np.maximum(z, 10.0)
    square = 1.0 / (large * large)
    tail = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))) / large
    small = np.where(z < 10.0, z, 10.0)
    exact = special.gammaln(small) - (small - 0.5) * np.log(small) + small - 0.5 * np.log(2.0 * np.pi)
    return np.where(z < 10.0, exact, tail)
