"""Joint tails of several comparisons with one shared control: the multivariate t of product correlation.

Comparison i is ``T_i = (b_i Z_0 + sqrt(1 - b_i**2) Z_i + shift_i) / S`` with independent standard normal ``Z_0``
(the control's noise) and ``Z_i``, and ``S**2`` a chi-square over its degrees of freedom. Given ``Z_0`` and ``S`` the
comparisons are independent, so a k-dimensional tail is a sum over two dimensions, whatever k is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.errors import check_choice, check_probability
from stats.roots import bracketed_root
from stats.status import BoolArray, FloatArray
from stats.tails import LOG_2, t_quantile, t_upper_log

SIDES = ("two-sided", "one-sided")

# What is left out at either end of a sum, and the error of its step, are both about exp(-_DEPTH) = 1e-11.
_DEPTH = 25.0
_REACH = 8.5
# Above this ratio of treatment to control units the integrand has steps that an even grid would have to resolve.
_STEEP = 100.0
_PANEL_EDGES = np.array([-8.0, -5.0, -3.0, -1.5, 0.0, 1.5, 3.0, 5.0, 8.0])
_FALL_EDGES = np.array([2.0, 5.0, 10.0, 20.0, 40.0])
_PANEL_NODES, _PANEL_WEIGHTS = np.polynomial.legendre.leggauss(10)
# Below this a tail is 0 to double precision and its logarithm comes from Bonferroni's bound.
_UNDERFLOW = -680.0
_CHUNK = 1_000_000
# Once the logarithm of the tail is met to this accuracy, one more secant step is as good as the sums are.
_ROOT = 1e-7


@dataclass(frozen=True, slots=True)
class _Problem:
    """One row per tail probability: critical value, loadings (arms on the last axis), df and shifts."""

    critical: FloatArray
    loadings: FloatArray
    df: FloatArray
    shifts: FloatArray | None
    two_sided: bool

    @property
    def folded(self) -> bool:
        """Whether the integrand is even in the control's noise, so that half of it is enough."""
        return self.two_sided and self.shifts is None

    def rows(self, index: npt.NDArray[np.int_]) -> _Problem:
        shifts = None if self.shifts is None else self.shifts[index]
        return _Problem(self.critical[index], self.loadings[index], self.df[index], shifts, self.two_sided)


def any_exceeds(
    critical: npt.ArrayLike,
    loadings: npt.ArrayLike,
    df: npt.ArrayLike = np.inf,
    *,
    sides: str = "two-sided",
    shifts: npt.ArrayLike | None = None,
) -> FloatArray:
    """Logarithm of the probability that at least one of k comparisons with a shared control exceeds `critical`.

    Parameters
    ----------
    critical
        Critical value of the statistic (of its absolute value if two-sided), shape ``cells``.
    loadings
        Share of the control in each comparison's standard error, ``se(control mean) / se(difference)``, in [0, 1],
        shape ``cells + (k,)``; NaN for a comparison that is not there. Two comparisons have correlation
        ``b_i * b_j``.
    df
        Degrees of freedom of the standard error, positive, infinite for a known one; shape ``cells``.
    sides
        ``"two-sided"`` or ``"one-sided"`` (upper; for the lower side turn the signs of everything).
    shifts
        Expected values of the comparisons in units of their standard errors, shape ``cells + (k,)``, for power;
        ``None`` for none.

    Returns
    -------
    numpy.ndarray
        Natural logarithm of the probability, relative accuracy about 1e-9 (3e-8 with one degree of freedom); NaN where
        an argument is not allowed.

    Notes
    -----
    Dunnett (1955), JASA 50:1096-1121; the product structure is Dunnett and Sobel (1955), Biometrika
    42:258-260. Deterministic: the trapezoidal rule over the control's noise and over ``log S``, whose error falls
    exponentially for these integrands (Trefethen and Weideman 2014, SIAM Review 56:385-458), and Gauss-Legendre
    panels around the steps where the control is more than 100 times smaller than a treatment.

    Examples
    --------
    >>> round(float(np.exp(any_exceeds(2.2121, [0.5**0.5, 0.5**0.5]))), 4)
    0.05
    """
    check_choice("sides", sides, SIDES)
    two_sided = sides == "two-sided"
    load = np.asarray(loadings, np.float64)
    moved = None if shifts is None else np.asarray(shifts, np.float64)
    extra = () if moved is None else moved.shape[:-1]
    shape = np.broadcast_shapes(np.shape(critical), np.shape(df), load.shape[:-1], extra)
    arms = load.shape[-1]
    problem = _Problem(
        _flat(critical, shape),
        _flat(load, (*shape, arms)).reshape(-1, arms),
        _flat(df, shape),
        None if moved is None else _flat(moved, (*shape, arms)).reshape(-1, arms),
        two_sided,
    )
    return _log_tail(problem).reshape(shape)


def shared_control_quantile(
    loadings: npt.ArrayLike, df: npt.ArrayLike = np.inf, *, alpha: float = 0.05, sides: str = "two-sided"
) -> FloatArray:
    """The value that the largest of k comparisons with a shared control exceeds with probability `alpha`.

    Parameters
    ----------
    loadings, df, sides
        As for `any_exceeds`.
    alpha
        Probability in (0, 1).

    Returns
    -------
    numpy.ndarray
        Shape ``cells``; NaN where an argument is not allowed or no comparison is there.

    Notes
    -----
    The root lies between the quantile of one comparison and Bonferroni's; it is found on the logarithm of the tail
    by secants.
    """
    check_choice("sides", sides, SIDES)
    check_probability("alpha", alpha)
    load = np.asarray(loadings, np.float64)
    shape = np.broadcast_shapes(np.shape(df), load.shape[:-1])
    arms = load.shape[-1]
    freedom = _flat(df, shape)
    load = _flat(load, (*shape, arms)).reshape(-1, arms)
    count = np.sum(~np.isnan(load), axis=-1)
    per_side = alpha / (2.0 if sides == "two-sided" else 1.0)
    allowed = np.where((freedom > 0) & (count > 0), freedom, np.nan)
    low = t_quantile(np.full(allowed.shape, per_side), allowed)
    high = t_quantile(per_side / np.maximum(count, 1), allowed)
    inside = (np.isnan(load) | ((load >= 0) & (load <= 1))).all(axis=-1)
    result = np.where((count == 1) & inside, low, np.nan)
    _, steep = _steepness(load)
    unsolved = (count > 1) & np.isfinite(high) & inside
    for group in (unsolved & ~steep, unsolved & steep):
        open_rows = np.flatnonzero(group)
        if not open_rows.size:
            continue
        problem = _Problem(low[open_rows], load[open_rows], freedom[open_rows], None, sides == "two-sided")
        result[open_rows] = _solved(problem, low[open_rows], high[open_rows], float(np.log(alpha)))
    return result.reshape(shape)


def _solved(problem: _Problem, low: FloatArray, high: FloatArray, target: float) -> FloatArray:
    growth, steep = _steepness(problem.loadings)

    def excess(c: FloatArray) -> FloatArray:
        return _summed(replace(problem, critical=c), growth, steep=bool(steep.any())) - target

    # The logarithm of the tail is nearly straight inside the narrow bracket: secants meet it in a few steps.
    before, c = low + 0.55 * (high - low), low + 0.8 * (high - low)
    f_before, f = excess(before), excess(c)
    for _ in range(8):
        with np.errstate(invalid="ignore", divide="ignore"):
            step = f * (c - before) / (f - f_before)
        after = np.clip(np.where(np.isfinite(step), c - step, c), low, high)
        if (np.abs(f) < _ROOT).all():
            return after
        before, f_before, c = c, f, after
        f = excess(c)
    return bracketed_root(excess, low, high, accuracy=_ROOT)


def _steepness(loadings: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Growth of the integrand off the real line, and whether it has steps that an even grid cannot afford."""
    squared = np.where(np.isnan(loadings), 0.0, np.minimum(loadings, 1.0)) ** 2
    ratio = squared / np.maximum(1.0 - squared, 1e-12)
    return 1.0 + ratio.sum(axis=-1), ratio.max(axis=-1, initial=0.0) > _STEEP


def _log_tail(problem: _Problem) -> FloatArray:
    arms = np.sum(~np.isnan(problem.loadings), axis=-1)
    inside = np.isnan(problem.loadings) | ((problem.loadings >= 0) & (problem.loadings <= 1))
    valid = inside.all(axis=-1) & (problem.df > 0) & ~np.isnan(problem.critical) & (arms > 0)
    if problem.shifts is not None:
        valid &= (np.isfinite(problem.shifts) | np.isnan(problem.loadings)).all(axis=-1)
    result = np.full(problem.critical.shape, np.nan)
    if problem.two_sided:
        result[valid & (problem.critical <= 0)] = 0.0
        valid &= problem.critical > 0
    if problem.shifts is None:
        side = LOG_2 if problem.two_sided else 0.0
        bound = t_upper_log(problem.critical, np.where(valid, problem.df, 1.0)) + side + np.log(np.maximum(arms, 1))
        far = valid & (bound < _UNDERFLOW)
        result[far] = bound[far]
        valid &= ~far
    growth, steep = _steepness(problem.loadings)
    for group, is_steep in ((valid & ~steep, False), (valid & steep, True)):
        index = np.flatnonzero(group)
        if index.size:
            result[index] = _summed(problem.rows(index), growth[index], steep=is_steep)
    return result


def _summed(problem: _Problem, growth: FloatArray, *, steep: bool) -> FloatArray:
    """Both sums for a group of rows, in chunks that bound the memory."""
    log_scale, scale_weight = _scale_nodes(problem.critical, problem.df)
    step = np.sqrt(2.0 * np.pi**2 / (_DEPTH * growth))
    panels = 10 * (9 * (1 if problem.folded else 2) * problem.loadings.shape[-1] + 9)
    width = panels if steep else int(np.ceil(2.0 * _REACH * 3.0 / step.min()))
    chunk = max(1, _CHUNK // (log_scale.shape[-1] * width))
    parts = []
    for start in range(0, problem.critical.size, chunk):
        index = np.arange(start, min(start + chunk, problem.critical.size))
        part = problem.rows(index)
        threshold = part.critical[:, np.newaxis] * np.exp(log_scale[index])
        nodes, weights = _panels(part, threshold) if steep else _trapezoid(part, threshold, step[index])
        union = _union(part, threshold, nodes)
        parts.append(np.einsum("cs,csz,csz->c", scale_weight[index], weights, union))
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(np.log(np.concatenate(parts)), 0.0), np.float64)


def _scale_nodes(critical: FloatArray, df: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Nodes of ``log S`` and their weights, shape ``(rows, nodes)``; a single node at 0 where df is infinite.

    The density of ``log S`` falls like ``exp(df * (u - (exp(2 u) - 1) / 2))``; times the normal tail beyond
    ``critical * S`` its peak moves left by ``log(1 + critical**2 / df) / 2``.
    """
    finite = np.isfinite(df)
    if not finite.any():
        return np.zeros((df.size, 1)), np.ones((df.size, 1))
    nu = np.where(finite, df, 1e6)
    depth = _DEPTH / nu
    left = _fall(depth) + 0.5 * np.log1p((critical / nu) * critical)
    left = -np.minimum(left, _fall(-_UNDERFLOW / nu))
    right = 0.5 * np.log1p(2.0 * depth + 2.0 * np.sqrt(depth))
    step = np.minimum(0.17, 0.8 / np.sqrt(2.0 * nu))
    count = int(np.ceil(((right - left) / step).max())) + 1
    u = left[:, np.newaxis] + (right - left)[:, np.newaxis] * np.linspace(0.0, 1.0, count)
    log_weight = nu[:, np.newaxis] * (u - 0.5 * np.expm1(2.0 * u))
    weight = np.exp(log_weight)
    weight /= weight.sum(axis=-1, keepdims=True)
    known = ~finite[:, np.newaxis]
    return np.where(known, 0.0, u), np.where(known, 1.0 / count, weight)


def _fall(depth: FloatArray) -> FloatArray:
    """How far left of 0 ``(exp(2 u) - 1) / 2 - u`` has surely reached `depth`."""
    return np.minimum(depth + 0.5, depth / 2.0 + np.sqrt(depth))


def _limits(part: _Problem, threshold: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Range of the control's noise: its own, and where it carries an arm past the threshold."""
    strongest = np.nanmax(part.loadings, axis=-1)[:, np.newaxis]
    high = _REACH + strongest * np.clip(threshold, 0.0, 38.0)
    return (
        np.zeros_like(high) if part.folded else np.full_like(high, -_REACH) - (high - _REACH) * part.two_sided
    ), high


def _trapezoid(part: _Problem, threshold: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
    low, high = _limits(part, threshold)
    count = int(np.ceil(((high - low) / step[:, np.newaxis]).max())) + 1
    spacing = (high - low) / (count - 1)
    nodes = low[..., np.newaxis] + spacing[..., np.newaxis] * np.arange(count)
    weights = _normal_density(nodes) * spacing[..., np.newaxis]
    if part.folded:
        weights *= 2.0
        weights[..., 0] /= 2.0
    return nodes, weights


def _panels(part: _Problem, threshold: FloatArray) -> tuple[FloatArray, FloatArray]:
    low, high = _limits(part, threshold)
    load = np.where(np.isnan(part.loadings), 0.5, part.loadings)[:, np.newaxis, :]
    shifts = 0.0 if part.shifts is None else part.shifts[:, np.newaxis, :]
    signs = (1.0,) if part.folded or not part.two_sided else (1.0, -1.0)
    load = np.maximum(load, 1e-3)
    spread = (_own(load) / load)[..., np.newaxis]
    places = [((sign * threshold[..., np.newaxis] - shifts) / load)[..., np.newaxis] for sign in signs]
    # Beyond a step far out the normal density falls as fast as exp(-|place| z).
    falls = [sign * _FALL_EDGES / np.maximum(np.abs(place), 1.0) for sign, place in zip(signs, places, strict=True)]
    steps = [place + spread * _PANEL_EDGES for place in places]
    steps += [place + fall for place, fall in zip(places, falls, strict=True)]
    base = low[..., np.newaxis] + (high - low)[..., np.newaxis] * np.linspace(0.0, 1.0, 10)
    flat = [s.reshape(*threshold.shape, -1) for s in steps]
    edges = np.clip(np.concatenate([base, *flat], axis=-1), low[..., np.newaxis], high[..., np.newaxis])
    edges.sort(axis=-1)
    half = np.diff(edges, axis=-1)[..., np.newaxis] / 2.0
    nodes = (edges[..., :-1, np.newaxis] + half * (1.0 + _PANEL_NODES)).reshape(*threshold.shape, -1)
    weights = _normal_density(nodes) * (half * _PANEL_WEIGHTS).reshape(*threshold.shape, -1)
    return nodes, weights * (2.0 if part.folded else 1.0)


def _union(part: _Problem, threshold: FloatArray, nodes: FloatArray) -> FloatArray:
    """Probability that any arm exceeds its threshold, given the control's noise and the scale."""
    same = part.shifts is None and bool((part.loadings == part.loadings[:, :1]).all())
    total = np.zeros_like(nodes)
    for arm in range(1 if same else part.loadings.shape[-1]):
        load = part.loadings[:, arm, np.newaxis, np.newaxis]
        own = _own(load)
        centre = load * nodes if part.shifts is None else load * nodes + part.shifts[:, arm, np.newaxis, np.newaxis]
        beyond = special.ndtr((centre - threshold[..., np.newaxis]) / own)
        if part.two_sided:
            beyond += special.ndtr((-threshold[..., np.newaxis] - centre) / own)
        beyond = np.where(np.isnan(load), 0.0, beyond)
        total += beyond * (1.0 - total)
    if same and part.loadings.shape[-1] > 1:
        with np.errstate(divide="ignore"):
            return np.asarray(-np.expm1(part.loadings.shape[-1] * np.log1p(-np.minimum(total, 1.0))), np.float64)
    return total


def _own(load: FloatArray) -> FloatArray:
    """Share of a treatment's own noise; kept above 0 so that a step stays a step."""
    return np.asarray(np.sqrt(np.maximum((1.0 - load) * (1.0 + load), 1e-12)), np.float64)


def _normal_density(z: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi), np.float64)


def _flat(values: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    return np.broadcast_to(np.asarray(values, np.float64), shape).reshape(-1)
