"""Bayesian comparison with a stated prior: chance to beat, expected loss, credible intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.beta_comparison import Betas, contrast_quantiles, excess_parts
from stats.effect import Effect, Scale
from stats.errors import check_choice, check_probability
from stats.moments import Moments
from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst

SCALES = ("difference", "relative")
UNIFORM = (1.0, 1.0)
# Below this a beta distribution's lower end cannot be told from 0 in double precision.
_SMALLEST = 0.05
# Above this one unit more or less is lost in rounding.
_LARGEST = 1e15
_ROOT_2PI = float(np.sqrt(2.0 * np.pi))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BetaPosterior:
    """What is known about a conversion rate after the data: a beta distribution per cell.

    Attributes
    ----------
    alpha, beta
        Its parameters: prior plus successes, prior plus failures.
    status
        `Status` per cell; ``INVALID_INPUT`` where a parameter is not a number from 0.05 to 1e15.
    """

    alpha: FloatArray
    beta: FloatArray
    status: StatusArray

    @classmethod
    def of(cls, alpha: npt.ArrayLike, beta: npt.ArrayLike, *, status: npt.ArrayLike = Status.OK) -> BetaPosterior:
        """Build from parameters; arrays broadcast to the cells."""
        a, b, own = np.broadcast_arrays(
            np.asarray(alpha, np.float64), np.asarray(beta, np.float64), np.asarray(status, np.int8)
        )
        bad = ~((a >= _SMALLEST) & (b >= _SMALLEST) & (a <= _LARGEST) & (b <= _LARGEST))
        return cls(alpha=a.copy(), beta=b.copy(), status=worst(own, where_status(bad, Status.INVALID_INPUT)))

    @property
    def mean(self) -> FloatArray:
        """Posterior mean of the rate, a proportion in (0, 1)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.alpha / (self.alpha + self.beta), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NormalPosterior:
    """What is known about an effect after the data: a normal distribution per cell, on the Effect's scale."""

    mean: FloatArray
    sd: FloatArray
    scale: Scale
    status: StatusArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BayesianResult:
    """Treatment against control, given prior and data; NaN wherever the status allows no number.

    Attributes
    ----------
    value, low, high
        Posterior mean of the effect (the median for a relative effect of two rates) and its equal-tailed credible
        interval.
    chance_to_beat, chance_to_lose
        Posterior probability that the effect is above 0, and below 0; each computed by itself, so that neither
        rounds to 0 before 1e-300.
    loss_treatment, loss_control
        Expected loss of choosing the treatment, ``E[max(-effect, 0)]``, and of choosing the control,
        ``E[max(effect, 0)]``, in the units of the effect (of a difference, for a relative effect of two rates).
    confidence
        Posterior probability of the interval, in (0, 1).
    status
        `Status` per cell.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    chance_to_beat: FloatArray
    chance_to_lose: FloatArray
    loss_treatment: FloatArray
    loss_control: FloatArray
    confidence: float
    status: StatusArray


@np.errstate(all="ignore")
def beta_posterior(
    moments: Moments, *, prior: tuple[npt.ArrayLike, npt.ArrayLike] = UNIFORM, column: int = 0
) -> BetaPosterior:
    """Posterior of a conversion rate from the Moments of a 0/1 metric.

    Parameters
    ----------
    moments
        Moments of a metric that is 0 or 1 per unit; a metric that is not gives ``INVALID_INPUT``.
    prior
        The two parameters of the beta prior, positive: prior successes and failures. Uniform by default; (0.5, 0.5)
        is Jeffreys'. Arrays broadcast to the cells.
    column
        Which column of the Moments holds the metric.

    Notes
    -----
    Conjugate update, Gelman et al. (2013), Bayesian Data Analysis, 3rd edition, section 2.4. A cell without units
    keeps its prior.

    Examples
    --------
    >>> posterior = beta_posterior(Moments.from_counts(30, 100))
    >>> float(posterior.alpha), float(posterior.beta)
    (31.0, 71.0)
    """
    n = moments.n
    with np.errstate(invalid="ignore", divide="ignore"):
        successes = np.where(n > 0, n * moments.mean[..., column], 0.0)
        rounded = np.round(successes)
        successes = np.where(np.abs(successes - rounded) < 1e-6, rounded, successes)
        expected = np.where(n > 0, successes * (n - successes) / n, 0.0)
    cross = moments.cross[..., column, column]
    binary = (np.abs(cross - expected) <= 1e-6 * (1.0 + expected)) & (successes >= 0) & (successes <= n)
    # No units at all is not a defect here: the prior stands.
    status = np.where(n == 0, np.int8(Status.OK), moments.status)
    return BetaPosterior.of(
        np.asarray(prior[0], np.float64) + successes,
        np.asarray(prior[1], np.float64) + (n - successes),
        status=worst(status, where_status(~binary, Status.INVALID_INPUT)),
    )


@np.errstate(all="ignore")
def compare_rates(
    control: BetaPosterior, treatment: BetaPosterior, *, confidence: float = 0.95, scale: str = "difference"
) -> BayesianResult:
    """Compare two conversion rates whose posteriors are independent betas.

    Parameters
    ----------
    control, treatment
        Posteriors; cells broadcast.
    confidence
        Posterior probability of the interval, in (0, 1).
    scale
        ``"difference"`` of the two rates or ``"relative"``, ``treatment / control - 1``.

    Notes
    -----
    Chances and losses are one-dimensional integrals of positive terms, summed by Gauss-Legendre panels on the
    log-odds of the narrower posterior; the interval inverts the distribution of the contrast. Relative accuracy about
    1e-9 for chances and losses, 1e-6 for the interval. Expected loss as a stopping rule: Stucchio (2015), Bayesian
    A/B Testing at VWO. Not adjusted for watching: stopping on a threshold keeps the stated meaning only
    where the prior is true.

    Examples
    --------
    >>> control = beta_posterior(Moments.from_counts(100, 1000))
    >>> treatment = beta_posterior(Moments.from_counts(130, 1000))
    >>> result = compare_rates(control, treatment)
    >>> round(float(result.chance_to_beat), 4), round(float(result.loss_treatment), 6)
    (0.9822, 9.2e-05)
    """
    check_probability("confidence", confidence)
    check_choice("scale", scale, SCALES)
    a0, b0, a1, b1, status = np.broadcast_arrays(
        control.alpha, control.beta, treatment.alpha, treatment.beta, worst(control.status, treatment.status)
    )
    usable = status < Status.ZERO_VARIANCE
    arms = Betas(a0[usable], b0[usable]), Betas(a1[usable], b1[usable])
    above, below, gain, loss = excess_parts(*arms)
    relative = scale == "relative"
    tail = (1.0 - confidence) / 2.0
    low, high = (contrast_quantiles(*arms, q, relative=relative) for q in (tail, 1.0 - tail))
    if relative:
        value = contrast_quantiles(*arms, 0.5, relative=True)
    else:
        old, new = arms
        value = (new.a * old.b - old.a * new.b) / (new.total * old.total)
    filled = [_filled(part, usable) for part in (value, low, high, above, below, loss, gain)]
    return BayesianResult(
        value=filled[0],
        low=filled[1],
        high=filled[2],
        chance_to_beat=filled[3],
        chance_to_lose=filled[4],
        loss_treatment=filled[5],
        loss_control=filled[6],
        confidence=confidence,
        status=status.copy(),
    )


@np.errstate(all="ignore")
def normal_posterior(
    effect: Effect, *, prior_mean: npt.ArrayLike = 0.0, prior_sd: npt.ArrayLike = np.inf
) -> NormalPosterior:
    """Posterior of an effect whose estimate is normal around it, under a normal prior.

    Parameters
    ----------
    effect
        Estimate and standard error, on any scale; the standard error is taken as known.
    prior_mean, prior_sd
        The prior on the Effect's scale; an infinite standard deviation is the flat prior, 0 fixes the effect.

    Notes
    -----
    Precision-weighted mean: Gelman et al. (2013), section 2.5, equations 2.11 and 2.12. With fewer than about 30
    units per arm the standard error is not known well enough for this.

    Examples
    --------
    >>> posterior = normal_posterior(Effect.of(-0.03, 0.01), prior_mean=0.005, prior_sd=0.02)
    >>> round(float(posterior.mean), 4), round(float(posterior.sd), 6)
    (-0.023, 0.008944)
    """
    centre, spread = np.asarray(prior_mean, np.float64), np.asarray(prior_sd, np.float64)
    bad = ~np.isfinite(centre) | ~(spread >= 0)
    status = worst(effect.status, where_status(bad, Status.INVALID_INPUT))
    usable = status < Status.ZERO_VARIANCE
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # Weight of the prior: se**2 / (se**2 + sd**2), without squaring what may overflow.
        ratio = spread / effect.se
        weight = 1.0 / (1.0 + ratio * ratio)
        shift = np.where(weight > 0, weight * (centre - effect.value), 0.0)
        sd = effect.se * np.sqrt(1.0 - weight)
    return NormalPosterior(
        mean=np.where(usable, effect.value + shift, np.nan),
        sd=np.where(usable, sd, np.nan),
        scale=effect.scale,
        status=status,
    )


@np.errstate(all="ignore")
def compare_normal(posterior: NormalPosterior, *, confidence: float = 0.95) -> BayesianResult:
    """Chances, expected losses and credible interval of a normal posterior.

    Parameters
    ----------
    posterior
        Of the effect; a standard deviation of 0 is a point.
    confidence
        Posterior probability of the interval, in (0, 1).

    Notes
    -----
    ``E[max(X, 0)] = sd * (phi(u) + u * Phi(u))`` with ``u = mean / sd``; for negative u by the Mills ratio, so that
    nothing cancels. No clipping, no overflow.

    Examples
    --------
    >>> result = compare_normal(normal_posterior(Effect.of(0.05, 0.03572)))
    >>> round(float(result.chance_to_beat), 3), round(float(result.loss_treatment), 5)
    (0.919, 0.00131)
    """
    check_probability("confidence", confidence)
    mean, sd = posterior.mean, posterior.sd
    with np.errstate(invalid="ignore", divide="ignore"):
        u = np.where(sd > 0, mean / sd, np.sign(mean) * np.inf)
    u = np.where((sd == 0) & (mean == 0), 0.0, u)
    reach = -special.ndtri((1.0 - confidence) / 2.0) * sd
    point = sd == 0
    gain = np.where(point, np.maximum(mean, 0.0), _positive_part(mean, sd, u))
    loss = np.where(point, np.maximum(-mean, 0.0), _positive_part(-mean, sd, -u))
    return BayesianResult(
        value=mean,
        low=mean - reach,
        high=mean + reach,
        chance_to_beat=np.where(point & (mean == 0), 0.0, special.ndtr(u)),
        chance_to_lose=np.where(point & (mean == 0), 0.0, special.ndtr(-u)),
        loss_treatment=loss,
        loss_control=gain,
        confidence=confidence,
        status=posterior.status,
    )


def _positive_part(mean: FloatArray, sd: FloatArray, u: FloatArray) -> FloatArray:
    """``E[max(X, 0)]`` of a normal X with ``u = mean / sd``."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        density = np.exp(-0.5 * u * u) / _ROOT_2PI
        above = sd * density + mean * special.ndtr(u)
        depth = np.maximum(-u, 0.0)
        mills = _ROOT_2PI / 2.0 * special.erfcx(depth / np.sqrt(2.0))
        # 1 - u * mills(u) is about u**-2: at u = 38, where the density underflows, 12 correct digits are left.
        rest = np.maximum(1.0 - depth * mills, 0.0)
        below = sd * density * rest
    return np.asarray(np.where(u >= 0, above, below), np.float64)


def _filled(values: FloatArray, usable: BoolArray) -> FloatArray:
    result = np.full(usable.shape, np.nan)
    result[usable] = values
    return result
