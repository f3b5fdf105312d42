"""Sample ratio mismatch at every look: the sequential multinomial test, also when the planned shares change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError, StatsError
from stats.sequential.dirichlet import dirichlet_log_e
from stats.sequential.running import running_log_p
from stats.status import FloatArray, Status, StatusArray, where_status, worst


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequentialSampleRatio:
    """Evidence against the planned shares after each look.

    Attributes
    ----------
    log_e, e_value
        Bayes factor against the planned shares after each look: natural logarithm and value, shape
        ``cells + (looks,)``.
    log_p, p_value
        Smallest ``1 / e`` so far: stop and investigate at the first look where it is below alpha.
    observed, expected
        Units per arm so far and their expectation under the shares in force when they came, shape
        ``cells + (looks, arms)``.
    status
        ``IMPOSSIBLE_ARM`` from the look on at which units were seen in an arm that was planned to get none;
        ``INSUFFICIENT_DATA`` before the first unit.
    """

    log_e: FloatArray
    e_value: FloatArray
    log_p: FloatArray
    p_value: FloatArray
    observed: FloatArray
    expected: FloatArray
    status: StatusArray


def sequential_sample_ratio(
    counts: npt.ArrayLike,
    weights: npt.ArrayLike,
    *,
    concentration: float = 1000.0,
    prior: npt.ArrayLike | None = None,
) -> SequentialSampleRatio:
    """Test the counts per variant against the planned shares at every look.

    Parameters
    ----------
    counts
        Units **new** at each look per variant, shape ``cells + (looks, arms)``.
    weights
        Planned shares, not negative, need not be normalised: shape ``(arms,)``, or ``(looks, arms)`` where they
        change (a ramp): the shares in force while the look's units came.
    concentration
        Size of the Dirichlet prior around the planned shares, in units; positive. 1000 looks for deviations of a few
        percentage points in small experiments and costs little in large ones.
    prior
        Dirichlet parameters per arm instead, shape ``(arms,)``, positive; the same in every stage.

    Returns
    -------
    SequentialSampleRatio
        One result per look.

    Raises
    ------
    StatsError
        If the shapes do not belong together, or no arm has a share.
    OutOfRangeError
        If a weight is negative or not finite, or `concentration` or `prior` is not positive.

    Notes
    -----
    Lindon and Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS, arXiv
    2011.03567, section 2: the Dirichlet mixture against the multinomial. Looks with the
    same shares form a stage; each stage has an e-process of its own, and their product is one: whatever was expected
    in a stage, the chance that it ever exceeds ``1 / alpha`` under correct assignment is at most alpha. Units must be
    counted by the shares in force when they **entered**.

    Examples
    --------
    >>> ramp = sequential_sample_ratio([[990, 10], [4900, 5100]], [[0.99, 0.01], [0.5, 0.5]])
    >>> [round(float(p), 3) for p in ramp.p_value]
    [1.0, 0.764]
    """
    new, shares = _checked(counts, weights)
    if not 0.0 < concentration < np.inf:
        raise OutOfRangeError("concentration", concentration, "a positive number of units")
    given = None if prior is None else _checked_prior(prior, shares.shape[-1])
    valid = np.isfinite(new) & (new >= 0)
    bad = np.logical_or.accumulate(~valid.all(axis=-1), axis=-1)
    new = np.where(valid, new, 0.0)
    log_e = np.zeros(new.shape[:-1])
    for stage in np.unique(shares, axis=0):
        inside = (shares == stage).all(axis=-1)
        open_arm = stage > 0
        total = np.cumsum(np.where(inside[:, np.newaxis], new, 0.0), axis=-2)[..., open_arm]
        null = stage[open_arm]
        own = concentration * null if given is None else given[open_arm]
        log_e = log_e + dirichlet_log_e(total, null, own)
    impossible = np.logical_or.accumulate(((new > 0) & (shares == 0)).any(axis=-1), axis=-1)
    observed = np.cumsum(new, axis=-2)
    expected = np.cumsum(new.sum(axis=-1, keepdims=True) * shares, axis=-2)
    status = worst(
        where_status(observed.sum(axis=-1) == 0, Status.INSUFFICIENT_DATA),
        where_status(impossible, Status.IMPOSSIBLE_ARM),
        where_status(bad, Status.INVALID_INPUT),
    )
    log_e = np.where(bad, np.nan, np.where(impossible, np.inf, log_e))
    log_p = np.where(bad, np.nan, running_log_p(np.where(bad, 0.0, log_e), axis=-1))
    with np.errstate(over="ignore"):
        e_value = np.exp(log_e)
    return SequentialSampleRatio(
        log_e=log_e,
        e_value=e_value,
        log_p=log_p,
        p_value=np.exp(log_p),
        observed=observed,
        expected=expected,
        status=status,
    )


def _checked(counts: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    new, planned = np.asarray(counts, np.float64), np.asarray(weights, np.float64)
    if new.ndim < 2 or planned.ndim not in (1, 2) or planned.shape[-1] != new.shape[-1]:
        raise StatsError(
            f"counts have shape {new.shape}, weights {planned.shape}; expected (looks, arms) and (arms,) or "
            "(looks, arms), with equally many arms."
        )
    if planned.ndim == 2 and planned.shape[0] != new.shape[-2]:
        raise StatsError(f"weights are given for {planned.shape[0]} looks, counts for {new.shape[-2]}.")
    if not (np.isfinite(planned) & (planned >= 0)).all():
        raise OutOfRangeError("weights", weights, "finite and not negative")
    planned = np.broadcast_to(planned, new.shape[-2:])
    if not ((planned > 0).sum(axis=-1) >= 2).all():
        raise StatsError("weights leave fewer than two arms with a share: there is no ratio to test.")
    scaled = planned / planned.max(axis=-1, keepdims=True)
    return new, scaled / scaled.sum(axis=-1, keepdims=True)


def _checked_prior(prior: npt.ArrayLike, arms: int) -> FloatArray:
    values = np.asarray(prior, np.float64)
    if values.shape != (arms,):
        raise StatsError(f"prior has shape {values.shape}; expected ({arms},), one parameter per arm.")
    if not (np.isfinite(values) & (values > 0)).all():
        raise OutOfRangeError("prior", prior, "positive numbers")
    return values
