"""Two streams of events, exactly: a conditional e-process for their rate ratio when the treatment's share varies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.errors import OutOfRangeError, StatsError, check_probability
from stats.roots import bracketed_root, increasing_root
from stats.sequential.mixture import best_ratio
from stats.sequential.running import running_log_p
from stats.status import FloatArray, Status, StatusArray, where_status, worst

# The integral stops where its integrand has fallen by exp(-_DEPTH) from its peak.
_DEPTH = 45.0
# Log ratios beyond which nothing is looked for.
_FURTHEST = 600.0
# Tanh-sinh nodes on (0, 1): both the peak at one end and a slow exponential along the way are resolved.
_STEP = 0.0625
_S = _STEP * np.arange(-52, 53)
_NODES = 0.5 * (1.0 + np.tanh(0.5 * np.pi * np.sinh(_S)))
_LOG_WEIGHTS = np.log(_STEP * 0.25 * np.pi * np.cosh(_S)) - 2.0 * np.log(np.cosh(0.5 * np.pi * np.sinh(_S)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateRatio:
    """Ratio of two event rates after each look, treatment over control; shape ``cells + (looks,)``.

    Attributes
    ----------
    value, low, high
        Most likely ratio and this look's confidence sequence; 0 and infinity are ends where nothing bounds it.
    log_e, e_value
        Evidence against `null`: natural logarithm and value.
    log_p, p_value
        Smallest ``1 / e`` so far.
    null
        Ratio under the hypothesis.
    confidence
        Probability that the interval covers at all looks at once.
    status
        ``INSUFFICIENT_DATA`` before the first event; ``UNBOUNDED`` while the upper end is infinite.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    log_e: FloatArray
    e_value: FloatArray
    log_p: FloatArray
    p_value: FloatArray
    null: float
    confidence: float
    status: StatusArray


def rate_ratio_sequence(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    share: npt.ArrayLike = 0.5,
    *,
    planned: float,
    prior_share: float = 0.5,
    null: float = 1.0,
    confidence: float = 0.95,
) -> RateRatio:
    """Compare the event rates of two arms at every look, conditionally on the number of events.

    Parameters
    ----------
    control, treatment
        Events **new** at each look per arm, shape ``cells + (looks,)``.
    share
        Share of treatment in (0, 1) while those events came, one number or shape ``(looks,)``: for 0/1 outcomes of
        units the probability of assignment to treatment; for counts over time treatment's share of the exposed units
        (or hours). It must be known before the events.
    planned
        Events of both arms at the planned end, positive: there the sequence is narrowest.
    prior_share
        Share for which that holds, in (0, 1).
    null
        Ratio under the hypothesis, positive.
    confidence
        Probability, in (0, 1), of covering the ratio at all looks at once.

    Returns
    -------
    RateRatio
        One result per look.

    Raises
    ------
    StatsError
        If the shapes do not belong together.
    OutOfRangeError
        If an option is out of range.

    Notes
    -----
    Given an event, it is treatment's with probability ``share * ratio / (share * ratio + 1 - share)``, whatever the
    common rate does over time: exact for two Poisson streams of proportional rates, and for success rates of
    proportional arms. Lindon and Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS, arXiv
    2011.03567, sections 3 and 4; the mixture is beta for a constant share. With a share that changes, log ratios keep
    the density they have at `prior_share`, and the integral is done numerically (to about 1e-8). Sequence: the ratios
    whose likelihood is not below alpha times the mixture's.

    Examples
    --------
    >>> result = rate_ratio_sequence([40, 60], [10, 90], [0.1, 0.5], planned=200)
    >>> float(result.value[-1].round(4)), [float(x.round(4)) for x in (result.low[-1], result.high[-1])]
    (1.6056, [1.0052, 2.5811])
    """
    check_probability("confidence", confidence)
    check_probability("prior_share", prior_share)
    for name, number in (("planned", planned), ("null", null)):
        if not 0.0 < number < np.inf:
            raise OutOfRangeError(name, number, "a positive number")
    data, bad = _Likelihood.of(control, treatment, share)
    size = planned / best_ratio(1.0 - confidence)
    prior = _Likelihood(events=np.array([size]), treated=np.asarray(size * prior_share), shares=np.array([prior_share]))
    mixture = _log_integral(data.joined(prior, prior_share, size)) - _log_integral(prior)
    log_e = np.where(bad, np.nan, mixture - data.log_likelihood(np.full(mixture.shape, np.log(null))))
    log_p = np.where(bad, np.nan, running_log_p(np.where(bad, 0.0, log_e)))
    value, low, high = _sequence(data, mixture + np.log1p(-confidence))
    total = data.events.sum(axis=-1)
    status = worst(
        where_status(total == 0, Status.INSUFFICIENT_DATA),
        where_status((total > 0) & np.isinf(high), Status.UNBOUNDED),
        where_status(bad, Status.INVALID_INPUT),
    )
    with np.errstate(over="ignore"):
        e_value = np.exp(log_e)
    return RateRatio(
        value=np.where(bad | (total == 0), np.nan, value),
        low=np.where(bad, np.nan, low),
        high=np.where(bad, np.nan, high),
        log_e=log_e,
        e_value=e_value,
        log_p=log_p,
        p_value=np.exp(log_p),
        null=float(null),
        confidence=confidence,
        status=status,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Likelihood:
    """Log likelihood of a log ratio x: ``treated * x - sum(events * log(share * exp(x) + 1 - share))``; concave."""

    events: FloatArray  # cells + (shares,)
    treated: FloatArray  # cells
    shares: FloatArray

    @classmethod
    def of(
        cls, control: npt.ArrayLike, treatment: npt.ArrayLike, share: npt.ArrayLike
    ) -> tuple[_Likelihood, FloatArray]:
        """Cumulated over the looks, one column per distinct share; and where a count so far cannot be one."""
        first, second = np.broadcast_arrays(np.asarray(control, np.float64), np.asarray(treatment, np.float64))
        if first.ndim == 0:
            raise StatsError("control and treatment are single numbers; the last axis must be the looks.")
        given = np.asarray(share, np.float64)
        if given.ndim > 1 or (given.ndim == 1 and given.size != first.shape[-1]):
            raise StatsError(
                f"share has shape {given.shape}; expected one number or ({first.shape[-1]},), one per look."
            )
        if not ((given > 0) & (given < 1)).all():
            raise OutOfRangeError("share", share, "strictly between 0 and 1")
        valid = np.isfinite(first) & np.isfinite(second) & (first >= 0) & (second >= 0)
        first, second = np.where(valid, first, 0.0), np.where(valid, second, 0.0)
        shares, column = np.unique(np.broadcast_to(given, first.shape[-1:]), return_inverse=True)
        inside = column[:, np.newaxis] == np.arange(shares.size)
        events = np.cumsum((first + second)[..., np.newaxis] * inside, axis=-2)
        bad = np.logical_or.accumulate(~valid, axis=-1)
        return cls(events=events, treated=np.cumsum(second, axis=-1), shares=shares), bad

    def joined(self, prior: _Likelihood, share: float, size: float) -> _Likelihood:
        """With the prior's pseudo-events as one more column."""
        extra = np.full((*self.events.shape[:-1], 1), size)
        return _Likelihood(
            events=np.concatenate([self.events, extra], axis=-1),
            treated=self.treated + prior.treated,
            shares=np.append(self.shares, share),
        )

    def log_likelihood(self, x: FloatArray) -> FloatArray:
        """At one log ratio per cell, or with trailing axes of nodes."""
        extra = (1,) * (x.ndim - self.treated.ndim)
        treated = self.treated.reshape((*self.treated.shape, *extra))
        up, rise = np.maximum(x, 0.0), np.expm1(-np.abs(x))
        result = treated * x
        for j, share in enumerate(self.shares):
            events = self.events[..., j].reshape((*self.treated.shape, *extra))
            result = result - events * (up + np.log1p(np.where(x > 0, 1.0 - share, share) * rise))
        return np.asarray(result, np.float64)

    def slope(self, x: FloatArray) -> FloatArray:
        """Derivative at one log ratio per cell."""
        odds = x[..., np.newaxis] + special.logit(self.shares)
        return np.asarray(self.treated - (self.events * special.expit(odds)).sum(axis=-1), np.float64)

    def bend(self, x: FloatArray) -> FloatArray:
        """Minus the second derivative."""
        odds = x[..., np.newaxis] + special.logit(self.shares)
        return np.asarray((self.events * special.expit(odds) * special.expit(-odds)).sum(axis=-1), np.float64)

    def peak(self) -> FloatArray:
        """Most likely log ratio, within the limits of the search."""
        wide = np.full(self.treated.shape, _FURTHEST)
        return bracketed_root(self.slope, -wide, wide)


def _log_integral(likelihood: _Likelihood) -> FloatArray:
    """Logarithm of the integral of the likelihood over all log ratios."""
    peak = likelihood.peak()
    top = likelihood.log_likelihood(peak)
    start = 1.0 / np.sqrt(likelihood.bend(peak))
    parts = []
    for sign in (-1.0, 1.0):
        length = _distance(likelihood, peak, top - _DEPTH, sign, start)
        x = peak[..., np.newaxis] + sign * length[..., np.newaxis] * _NODES
        height = likelihood.log_likelihood(x) - top[..., np.newaxis]
        parts.append(special.logsumexp(height + _LOG_WEIGHTS, axis=-1) + np.log(length))
    return np.asarray(top + np.logaddexp(*parts), np.float64)


def _distance(
    likelihood: _Likelihood, origin: FloatArray, level: FloatArray, sign: float, start: FloatArray
) -> FloatArray:
    """How far from `origin`, in one direction, the likelihood has fallen to `level`."""
    return increasing_root(
        lambda length: level - likelihood.log_likelihood(origin + sign * length), 1e-9 * start, start
    )


def _sequence(likelihood: _Likelihood, level: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Most likely ratio and the ends of the set where the log likelihood is above `level`."""
    peak = likelihood.peak()
    total = likelihood.events.sum(axis=-1)
    least, most = likelihood.treated == 0, likelihood.treated == total
    start = np.minimum(1.0 / np.sqrt(np.maximum(likelihood.bend(peak), 1e-12)), 1.0)
    ends = []
    for sign, open_end in ((-1.0, least), (1.0, most)):
        # Where the likelihood never falls that way the end is open, and any level that is reached will do.
        reached = np.where(open_end, likelihood.log_likelihood(peak + sign * start), level)
        length = _distance(likelihood, peak, reached, sign, start)
        ends.append(np.where(open_end, sign * np.inf, peak + sign * length))
    value = np.where(least, 0.0, np.where(most, np.inf, np.exp(peak)))
    with np.errstate(over="ignore"):
        return value, np.exp(ends[0]), np.exp(ends[1])
