"""E-values: evidence that may be collected, averaged and multiplied freely; and their false discovery rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.errors import OutOfRangeError, check_probability
from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EDiscoveries:
    """Hypotheses that e-BH rejects.

    Attributes
    ----------
    rejected
        True where the hypothesis is a discovery, shape of the e-values.
    e_value
        Adjusted e-values: the procedure at level alpha rejects where this is at least ``1 / alpha``; NaN where the
        status allows none.
    status
        ``INSUFFICIENT_DATA`` where no e-value was given, ``INVALID_INPUT`` where it is negative.
    """

    rejected: BoolArray
    e_value: FloatArray
    status: StatusArray


def e_benjamini_hochberg(e_values: npt.ArrayLike, *, alpha: float = 0.05, axis: int = -1) -> EDiscoveries:
    """Control the false discovery rate with e-values, under any dependence between them.

    Parameters
    ----------
    e_values
        At least 0, with expectation at most 1 under the hypothesis; a family lies along `axis`. Infinite is allowed.
        A missing one (NaN) counts in its family as if it were 0: no evidence.
    alpha
        False discovery rate, a probability in (0, 1).

    Notes
    -----
    Reject the k largest, with k the largest number for which ``k * e_(k) / K >= 1 / alpha``: Wang and Ramdas (2022),
    JRSS B 84:822-852. Valid when results are watched, if each e-value is (an e-process).

    Examples
    --------
    >>> e_benjamini_hochberg([1000.0, 3.0, 2.0, 1.0]).rejected.tolist()
    [True, False, False, False]
    """
    check_probability("alpha", alpha)
    given = np.asarray(e_values, np.float64)
    if given.ndim == 0:
        raise OutOfRangeError("e_values", given.item(), "an array with a family along one axis")
    status = worst(
        where_status(np.isnan(given), Status.INSUFFICIENT_DATA), where_status(given < 0, Status.INVALID_INPUT)
    )
    usable = status == Status.OK
    family = np.moveaxis(np.where(usable, given, 0.0), axis, -1)
    order = np.argsort(-family, axis=-1, kind="stable")
    size = family.shape[-1]
    # Dividing the rank first keeps K * e / K exactly e, so that the boundary case 1 / alpha is met.
    scaled = np.take_along_axis(family, order, axis=-1) * (np.arange(1, size + 1) / size)
    ordered = np.maximum.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    adjusted = np.empty_like(family)
    np.put_along_axis(adjusted, order, ordered, axis=-1)
    adjusted = np.where(usable, np.moveaxis(adjusted, -1, axis), np.nan)
    # A rounding of the product must not undo a rejection at the boundary.
    rejected = usable & (adjusted * alpha >= 1.0 - 4.0 * np.finfo(np.float64).eps)
    return EDiscoveries(rejected=rejected, e_value=adjusted, status=status)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EValues:
    """E-values per cell.

    Attributes
    ----------
    e_value, log_e
        The e-value, at least 0, and its natural logarithm, which stays finite where the e-value overflows.
    status
        `Status` per cell; NaN stands wherever the status allows no number.
    """

    e_value: FloatArray
    log_e: FloatArray
    status: StatusArray


def p_to_e(p_values: npt.ArrayLike, *, kappa: float | None = None) -> EValues:
    """Calibrate p-values into e-values.

    Parameters
    ----------
    p_values
        Probabilities in [0, 1]; any shape of cells.
    kappa
        ``None`` for the calibrator that averages over all kappa in (0, 1), or a number in (0, 1) for
        ``kappa * p**(kappa - 1)``.

    Notes
    -----
    ``(1 - p + p log p) / (p log(p)**2)``: Vovk and Wang (2021), Annals of Statistics 49:1736-1754, equation 2.
    With ``L = -log p`` it is ``(exp(L) - 1 - L) / L**2``, which is summed as a series near p = 1. Calibrating loses
    evidence: a p-value of 0.05 becomes an e-value of about 1.8.

    Examples
    --------
    >>> round(float(p_to_e(0.001).e_value), 4)
    20.7911
    """
    given = np.asarray(p_values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _calibrated(given, np.log(given), kappa)


def log_p_to_e(log_p: npt.ArrayLike, *, kappa: float | None = None) -> EValues:
    """Calibrate p-values that are kept as natural logarithms because they underflow; otherwise as `p_to_e`.

    Examples
    --------
    >>> round(float(log_p_to_e(-2000.0).log_e), 3)
    1984.798
    """
    given = np.asarray(log_p, np.float64)
    return _calibrated(given, given, kappa)


def _calibrated(given: FloatArray, log_p: FloatArray, kappa: float | None) -> EValues:
    if kappa is not None:
        check_probability("kappa", kappa)
    missing = np.isnan(given)
    status = worst(
        where_status(missing, Status.INSUFFICIENT_DATA), where_status(~missing & ~(log_p <= 0), Status.INVALID_INPUT)
    )
    length = np.where(status == Status.OK, -log_p, np.nan)
    log_e = _log_integrated(length) if kappa is None else np.log(kappa) + (1.0 - kappa) * length
    with np.errstate(over="ignore"):
        return EValues(e_value=np.exp(log_e), log_e=log_e, status=status)


def e_to_p(e_values: npt.ArrayLike) -> FloatArray:
    """The p-value ``min(1, 1 / e)`` of an e-value, by Markov's inequality; the only admissible way back.

    Vovk and Wang (2021), proposition 2.2. Below 0 or missing is NaN.

    Examples
    --------
    >>> e_to_p([0.5, 20.0, 0.0]).tolist()
    [1.0, 0.05, 1.0]
    """
    given = np.asarray(e_values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(given >= 0, np.minimum(1.0, 1.0 / given), np.nan)


def _log_integrated(length: FloatArray) -> FloatArray:
    """Logarithm of ``(exp(L) - 1 - L) / L**2``."""
    near = length < 1.0
    small = np.where(near, length, 0.0)
    # sum of L**j / (j + 2)! by Horner; 18 terms reach machine precision for L below 1.
    series = np.zeros_like(small)
    for j in range(18, -1, -1):
        series = 1.0 + series * small / (j + 3.0)
    large = np.where(near | np.isnan(length), 2.0, length)
    with np.errstate(over="ignore", invalid="ignore"):
        direct = large + np.log1p(-(1.0 + large) * np.exp(-large)) - 2.0 * np.log(large)
    direct = np.where(np.isinf(length), np.inf, direct)
    return np.where(np.isnan(length), np.nan, np.where(near, np.log(series / 2.0), direct))
