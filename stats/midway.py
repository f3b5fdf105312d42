"""Midway through an experiment: how much more of a sample it needs before an effect of a given size is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.comparisons import check_effect, check_positive, check_power
from stats.errors import OutOfRangeError, check_probability
from stats.roots import increasing_root
from stats.sequential.effects import NormalMixture
from stats.sequential.mixture import mixture_critical
from stats.status import FloatArray

# A sample this many times larger is no plan any more.
_MOST = 2.0**60


def power_after_more(factor: npt.ArrayLike, se: npt.ArrayLike, effect: npt.ArrayLike, *, alpha: float) -> FloatArray:
    """Power of a two-sided test once a sample has grown by a factor, if the truth is `effect` (normal).

    Parameters
    ----------
    factor
        Additional units per unit there is, at least 0: 1 doubles the sample.
    se
        Standard error of the effect today, positive.
    effect
        True effect on the scale of `se`.
    alpha
        Two-sided level, in (0, 1).

    Examples
    --------
    >>> round(float(power_after_more(1.0, 1.0, 2.8015852, alpha=0.05)), 4)
    0.9774
    """
    check_probability("alpha", alpha)
    shift = np.abs(np.asarray(effect, np.float64)) / _shrunk(se, factor)
    return _both_tails(shift, -float(special.ndtri(alpha / 2.0)))


def additional_sample(
    se: npt.ArrayLike, effect: npt.ArrayLike, *, power: npt.ArrayLike = 0.8, alpha: float = 0.05
) -> FloatArray:
    """How many more units an experiment needs, per unit it has, to find an effect with the wanted power.

    Parameters
    ----------
    se
        Standard error of the effect today, positive.
    effect
        Effect to find, not 0, on the scale of `se`: planned, not observed.
    power
        Wanted probability of a significant result in the two-sided test over the whole sample, in (0, 1).
    alpha
        Two-sided level, in (0, 1).

    Returns
    -------
    numpy.ndarray
        Additional units per unit there is: 0 where there are enough, 1 where as many again are needed.

    Raises
    ------
    OutOfRangeError
        If an argument is out of range, or power is not above alpha.

    Notes
    -----
    The standard error falls with the square root of the sample. Never plug in the observed effect: power at the
    observed effect is a restatement of the p-value (Hoenig and Heisey 2001, The American Statistician 55:19-24).

    Examples
    --------
    >>> round(float(additional_sample(1.0, 1.0)), 4), float(additional_sample(0.2, 1.0))
    (6.8489, 0.0)
    """
    check_probability("alpha", alpha)

    def found(factor: FloatArray) -> FloatArray:
        return power_after_more(factor, se, effect, alpha=alpha)

    return _solve(found, se, effect, power, alpha)


def additional_sample_bayesian(
    se: npt.ArrayLike,
    effect: npt.ArrayLike,
    *,
    prior_mean: npt.ArrayLike,
    prior_sd: npt.ArrayLike,
    power: npt.ArrayLike = 0.8,
    alpha: float = 0.05,
) -> FloatArray:
    """The same where the result is read off a Bayesian interval: more units until it excludes 0.

    Parameters
    ----------
    se, effect, power, alpha
        As for `additional_sample`; the interval holds ``1 - alpha`` of the posterior.
    prior_mean, prior_sd
        Normal prior of the effect, on its scale; `prior_sd` positive.

    Notes
    -----
    With estimate ``d ~ N(effect, v)`` the posterior has precision ``P = 1/v + 1/prior_sd**2`` and mean
    ``(d/v + prior_mean/prior_sd**2) / P``; its interval excludes 0 where that mean exceeds ``z / sqrt(P)`` in size.

    Examples
    --------
    >>> round(float(additional_sample_bayesian(1.0, 1.0, prior_mean=0.0, prior_sd=1e6)), 4)
    6.8489
    """
    check_probability("alpha", alpha)
    z = -float(special.ndtri(alpha / 2.0))
    precision = 1.0 / check_positive("prior_sd", prior_sd) ** 2
    # The side of the effect counts: a prior of the other sign has to be overcome.
    towards = np.sign(np.asarray(effect, np.float64)) * np.asarray(prior_mean, np.float64)

    def found(factor: FloatArray) -> FloatArray:
        root = _shrunk(se, factor)
        needed = z * root * np.sqrt(1.0 / root**2 + precision)
        pull = root * towards * precision + np.abs(np.asarray(effect, np.float64)) / root
        return np.asarray(special.ndtr(pull - needed) + special.ndtr(-pull - needed), np.float64)

    return _solve(found, se, effect, power, None)


def additional_sample_always_valid(
    se: npt.ArrayLike,
    effect: npt.ArrayLike,
    mixture: NormalMixture,
    *,
    units: npt.ArrayLike | None = None,
    power: npt.ArrayLike = 0.8,
    alpha: float = 0.05,
) -> FloatArray:
    """The same where the result is read off an always-valid interval: more units until it excludes 0.

    Parameters
    ----------
    se, effect, power, alpha
        As for `additional_sample`.
    mixture
        The experiment's, chosen before its first look.
    units
        Units of all arms today, where the mixture's clock counts them.

    Notes
    -----
    Power of the look at the end alone; the looks before it add to it, so the answer is on the safe side.

    Examples
    --------
    >>> mixture = NormalMixture.tuned(10_000)
    >>> round(float(additional_sample_always_valid(0.05, 0.1, mixture, units=2000)), 4)
    2.7697
    """
    check_probability("alpha", alpha)

    def found(factor: FloatArray) -> FloatArray:
        root = _shrunk(se, factor)
        grown = None if units is None else check_positive("units", units) * (1.0 + factor)
        critical = mixture_critical(mixture.ratio(root, grown), alpha=alpha)
        return _both_tails(np.abs(np.asarray(effect, np.float64)) / root, critical)

    return _solve(found, se, effect, power, None)


def _shrunk(se: npt.ArrayLike, factor: npt.ArrayLike) -> FloatArray:
    more = np.asarray(factor, np.float64)
    if not (more >= 0).all():
        raise OutOfRangeError("factor", factor, "a number of at least 0")
    return check_positive("se", se) / np.sqrt(1.0 + more)


def _both_tails(shift: FloatArray, critical: FloatArray | float) -> FloatArray:
    return np.asarray(special.ndtr(shift - critical) + special.ndtr(-shift - critical), np.float64)


def _solve(
    found: Callable[[FloatArray], FloatArray],
    se: npt.ArrayLike,
    effect: npt.ArrayLike,
    power: npt.ArrayLike,
    least: float | None,
) -> FloatArray:
    """Smallest factor at which the wanted power is reached; it rises with the sample from where it is reached on."""
    wanted = check_power(power)
    shape = np.broadcast_shapes(np.shape(se), check_effect("effect", effect).shape, wanted.shape)
    if least is not None and not (wanted > least).all():
        raise OutOfRangeError("power", power, f"above {least:.4g}, which the test has without any effect")
    enough = found(np.zeros(shape)) >= wanted
    factor = increasing_root(
        lambda more: np.where(enough | (more > _MOST), 1.0, found(more) - wanted),
        np.full(shape, 1e-12),
        np.ones(shape),
    )
    return np.where(enough, 0.0, np.where(factor > _MOST / 2.0, np.inf, factor))
