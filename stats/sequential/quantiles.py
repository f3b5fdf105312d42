"""Quantiles at any look, without assumptions on the distribution: sequence of one arm, test of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.errors import check_probability
from stats.histogram import Histogram, align
from stats.roots import bracketed_root
from stats.sequential.rates import bernoulli_log_e, prior_units
from stats.sequential.sequences import ConfidenceSequence
from stats.status import FloatArray, Status, StatusArray, where_status, worst

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_ROUNDS = 60


def quantile_sequence(
    histogram: Histogram,
    p: float,
    *,
    planned: float,
    confidence: float = 0.95,
    alpha_opt: float | None = None,
    tuning: str = "exact",
) -> ConfidenceSequence:
    """Confidence sequence of a quantile of independent values, valid at every look.

    Parameters
    ----------
    histogram
        Distribution of the metric per randomisation unit, of all data so far; one cell per look. When the values are
        events of units they are not independent, and this interval is too narrow.
    p
        Level in (0, 1).
    planned
        Units at which the sequence is to be narrowest, positive.
    confidence
        Probability, in (0, 1), of covering the quantile at all looks at once.
    alpha_opt, tuning
        As for `stats.sequential.rates.bernoulli_confidence_sequence`.

    Returns
    -------
    ConfidenceSequence
        In the units of the metric. An end is infinite while too few values lie beyond it (``UNBOUNDED``). The
        estimate is the interpolated quantile (type 7).

    Raises
    ------
    OutOfRangeError
        If an option is out of range.

    Notes
    -----
    Howard and Ramdas (2022), Bernoulli 28:1704-1728, theorem 1 with the beta-binomial boundary: the values whose count
    below is compatible, at every look, with the success rate p. Exact, ties included.

    Examples
    --------
    >>> sequence = quantile_sequence(Histogram.from_rows(range(1, 1001)), 0.5, planned=1000)
    >>> float(sequence.value), float(sequence.low), float(sequence.high)
    (500.5, 453.0, 548.0)
    """
    check_probability("confidence", confidence)
    alpha = 1.0 - confidence
    mixture = _Mixture.of(p, planned, alpha if alpha_opt is None else alpha_opt, tuning)
    n = np.asarray(histogram.n, np.float64)
    usable = (histogram.status < Status.ZERO_VARIANCE) & (n > 0)
    count = np.where(usable, n, 1.0)
    first, last = mixture.accepted(count, -np.log(alpha))
    low = np.where(first > 0, histogram.order_statistic(np.where(usable, np.maximum(first, 1.0), 1.0)), -np.inf)
    above = last + 1.0
    high = np.where(above <= count, histogram.order_statistic(np.where(usable, np.minimum(above, count), 1.0)), np.inf)
    unbounded = where_status(usable & (np.isinf(low) | np.isinf(high)), Status.UNBOUNDED)
    return ConfidenceSequence(
        value=np.where(usable, histogram.quantile(p), np.nan),
        low=np.where(usable, low, np.nan),
        high=np.where(usable, high, np.nan),
        confidence=confidence,
        status=worst(histogram.status, unbounded, where_status(n == 0, Status.INSUFFICIENT_DATA)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantileTest:
    """Whether two arms share a quantile, after each look.

    Attributes
    ----------
    log_e, e_value
        Evidence against equal quantiles: natural logarithm and value.
    log_p, p_value
        ``min(1, 1 / e)`` of this look and its logarithm.
    status
        `Status` per cell.
    """

    log_e: FloatArray
    e_value: FloatArray
    log_p: FloatArray
    p_value: FloatArray
    status: StatusArray


def sequential_quantile_test(
    control: Histogram,
    treatment: Histogram,
    p: float,
    *,
    planned: float,
    alpha_opt: float = 0.05,
    tuning: str = "exact",
) -> QuantileTest:
    """Always-valid test of the hypothesis that both arms have the same `p`-quantile.

    Parameters
    ----------
    control, treatment
        Distributions per randomisation unit of all data so far; one cell per look.
    p
        Level in (0, 1).
    planned
        Units **per arm** for which the test is tuned, positive.
    alpha_opt, tuning
        As for `stats.sequential.rates.bernoulli_confidence_sequence`.

    Raises
    ------
    OutOfRangeError
        If an option is out of range.

    Notes
    -----
    Howard and Ramdas (2022), theorem 5: the product of both arms' mixtures, at the common value that makes it least.
    The difference of the quantiles has the sequence `stats.sequential.sequences.sequence_difference`.

    Examples
    --------
    >>> arms = Histogram.from_rows(range(1, 1001)), Histogram.from_rows(range(101, 1101))
    >>> round(float(sequential_quantile_test(*arms, 0.5, planned=100, tuning="approximate").p_value), 7)
    0.0054947
    """
    mixture = _Mixture.of(p, planned, alpha_opt, tuning)
    first, second = align(control, treatment)
    log_e = np.asarray((mixture.least(first) + mixture.least(second)).min(axis=-1, initial=np.inf), np.float64)
    empty = (np.asarray(control.n) == 0) | (np.asarray(treatment.n) == 0)
    status = worst(control.status, treatment.status, where_status(empty, Status.INSUFFICIENT_DATA))
    usable = status < Status.INSUFFICIENT_DATA
    log_e = np.where(usable, log_e, np.nan)
    log_p = np.minimum(-log_e, 0.0)
    with np.errstate(over="ignore"):
        e_value = np.exp(log_e)
    return QuantileTest(log_e=log_e, e_value=e_value, log_p=log_p, p_value=np.exp(log_p), status=status)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixture:
    """Beta-binomial mixture of the number of values below the quantile."""

    p: float
    units: float

    @classmethod
    def of(cls, p: float, planned: float, alpha: float, tuning: str) -> _Mixture:
        check_probability("p", p)
        return cls(p=p, units=prior_units(planned, alpha=alpha, tuning=tuning))

    def log_e(self, below: FloatArray, n: FloatArray) -> FloatArray:
        return bernoulli_log_e(below, n, self.p, prior_units=self.units)

    def centre(self, n: FloatArray) -> FloatArray:
        """Count at which the mixture is least; it is convex in the count. By golden section."""
        a, b = np.zeros_like(n), n.copy()
        for _ in range(_ROUNDS):
            step = _GOLDEN * (b - a)
            x, y = b - step, a + step
            left = self.log_e(x, n) < self.log_e(y, n)
            a, b = np.where(left, a, x), np.where(left, y, b)
        return 0.5 * (a + b)

    def accepted(self, n: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
        """Smallest and largest whole count not rejected at `level`."""
        centre = self.centre(n)
        ends = []
        for edge, towards in ((np.zeros_like(n), np.ceil), (n, np.floor)):
            open_end = self.log_e(edge, n) < level
            root = bracketed_root(lambda k: self.log_e(k, n) - level, np.where(open_end, centre, edge), centre)
            ends.append(np.where(open_end, edge, towards(root)))
        return ends[0], ends[1]

    def least(self, histogram: Histogram) -> FloatArray:
        """Per value, the least evidence against its being the quantile: shape ``cells + (values,)``."""
        n = np.asarray(histogram.n, np.float64)
        count = np.where(n > 0, n, 1.0)
        at_most = np.cumsum(histogram.counts, axis=-1)
        below = at_most - histogram.counts
        kept = np.clip(self.centre(count)[..., np.newaxis], below, at_most)
        return self.log_e(kept, count[..., np.newaxis])
