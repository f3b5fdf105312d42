"""Two binomial rates under a given difference or ratio: restricted maximum likelihood and the score statistic."""

from __future__ import annotations

import numpy as np

from stats.status import FloatArray

_NEWTON_STEPS = 60


def restricted_difference(
    x_a: FloatArray, n_a: FloatArray, x_b: FloatArray, n_b: FloatArray, delta: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Rates of control and treatment that maximise the likelihood when ``p_b - p_a = delta``.

    Parameters
    ----------
    x_a, n_a, x_b, n_b
        Successes and units of control and treatment; need not be whole (expected counts serve in planning).
    delta
        The difference, in [-1, 1].

    Notes
    -----
    The likelihood is concave along the line, so its derivative falls through one zero. Newton steps find it, with
    bisection where one would leave the bracket; that keeps all digits where the closed-form cubic of Miettinen and
    Nurminen (1985) loses them.
    """
    shape = np.broadcast_shapes(*(np.shape(a) for a in (x_a, n_a, x_b, n_b, delta)))
    x_a, n_a, x_b, n_b, delta = (np.broadcast_to(a, shape) for a in (x_a, n_a, x_b, n_b, delta))
    low, high = np.maximum(0.0, -delta), np.minimum(1.0, 1.0 - delta)
    p = np.clip((x_a + x_b - n_b * delta) / (n_a + n_b), low, high)
    y_a, y_b = n_a - x_a, n_b - x_b

    def slope(p: FloatArray) -> tuple[FloatArray, FloatArray]:
        q = p + delta
        terms = _score(x_a, p), _score(y_a, 1.0 - p), _score(x_b, q), _score(y_b, 1.0 - q)
        first = terms[0][0] - terms[1][0] + terms[2][0] - terms[3][0]
        return first, -(terms[0][1] + terms[1][1] + terms[2][1] + terms[3][1])

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(_NEWTON_STEPS):
            first, second = slope(p)
            low, high = np.where(first > 0, p, low), np.where(first < 0, p, high)
            newton = p - first / second
            inside = (newton > low) & (newton < high)
            moved = np.where(first == 0, p, np.where(inside, newton, 0.5 * (low + high)))
            done = np.abs(moved - p) <= 1e-15 * np.minimum(p, 1.0 - p) + 1e-300
            p = moved
            if np.all(done | np.isnan(p)):
                break
    return p, p + delta


def restricted_ratio(
    x_a: FloatArray, n_a: FloatArray, x_b: FloatArray, n_b: FloatArray, ratio: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Rates of control and treatment that maximise the likelihood when ``p_b / p_a = ratio``.

    Notes
    -----
    Miettinen and Nurminen (1985), equation 12, in the form of the quadratic formula that does not cancel.
    """
    successes, total = x_a + x_b, n_a + n_b
    b = n_a + x_b + ratio * (n_b + x_a)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2.0 * successes / (b + np.sqrt(np.maximum(b * b - 4.0 * ratio * total * successes, 0.0)))
    p = np.minimum(p, 1.0)
    return p, np.minimum(ratio * p, 1.0)


def difference_score(
    x_a: FloatArray, n_a: FloatArray, x_b: FloatArray, n_b: FloatArray, delta: FloatArray
) -> FloatArray:
    """Score statistic (a z) of the hypothesis ``p_b - p_a = delta``; falls as `delta` grows.

    Notes
    -----
    Miettinen and Nurminen (1985), equation 8 without ``N / (N - 1)``; Farrington and Manning (1990), Statistics in
    Medicine 9:1447-1454. At ``delta = 0`` it is the pooled z.
    """
    p, q = restricted_difference(x_a, n_a, x_b, n_b, delta)
    return _standardised(x_b / n_b - x_a / n_a - delta, p * (1.0 - p) / n_a + q * (1.0 - q) / n_b)


def ratio_score(x_a: FloatArray, n_a: FloatArray, x_b: FloatArray, n_b: FloatArray, ratio: FloatArray) -> FloatArray:
    """Score statistic (a z) of the hypothesis ``p_b / p_a = ratio``; falls as `ratio` grows.

    Notes
    -----
    Miettinen and Nurminen (1985), equation 10 without ``N / (N - 1)``; equal to Koopman's (1984).
    """
    p, q = restricted_ratio(x_a, n_a, x_b, n_b, ratio)
    gap = x_b / n_b - ratio * (x_a / n_a)
    return _standardised(gap, q * (1.0 - q) / n_b + ratio * ratio * (p * (1.0 - p)) / n_a)


def _standardised(gap: FloatArray, variance: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(gap == 0, 0.0, gap / np.sqrt(np.maximum(variance, 0.0)))


def _score(x: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``x / p`` and ``x / p**2``, 0 where there is nothing to divide."""
    some = x > 0
    rate = np.where(some, x / p, 0.0)
    return rate, np.where(some, rate / p, 0.0)
