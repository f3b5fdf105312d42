"""Difference of two proportions by the method that fits the cell: Welch, or score and exact for small cells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from stats.effect import ALTERNATIVES, Inference, infer
from stats.errors import check_choice, check_probability
from stats.exact_tables import boschloo, fisher
from stats.means import welch
from stats.moments import Moments
from stats.proportion_intervals import score_interval
from stats.proportions import paired_counts
from stats.restricted_rates import difference_score
from stats.status import BoolArray, FloatArray, Status

# Below this many successes or failures in an arm the normal approximation is not trusted.
SMALL_CELL = 10
# Boschloo's test enumerates tables; above this many units in both arms together Fisher's stands in.
BOSCHLOO_UNITS = 400


class ProportionMethod(IntEnum):
    """How a cell was analysed."""

    WELCH = 0
    """Welch's t on the 0/1 values: agrees with Fieller's lift on significance."""
    SCORE_BOSCHLOO = 1
    """Miettinen and Nurminen's score interval with Boschloo's exact p-value."""
    SCORE_FISHER = 2
    """Miettinen and Nurminen's score interval with Fisher's exact p-value."""

    @property
    def sentence(self) -> str:
        """What to tell the reader."""
        if self is ProportionMethod.WELCH:
            return "Welch's t-test"
        name = "Boschloo" if self is ProportionMethod.SCORE_BOSCHLOO else "Fisher"
        return (
            f"fewer than {SMALL_CELL} conversions or non-conversions in an arm: score interval and {name}'s exact test"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProportionEffect:
    """Difference of two proportions and how it was found, per cell.

    Attributes
    ----------
    inference
        Difference, interval and p-value. In small cells ``statistic`` is the pooled z, for orientation only; interval
        and p-value come from different methods there and may disagree close to the limit of significance. Read
        verdicts off the interval.
    method
        `ProportionMethod` per cell.
    """

    inference: Inference
    method: npt.NDArray[np.int8]


def proportion_effect(
    control: Moments, treatment: Moments, *, alternative: str = "two-sided", confidence: float = 0.95
) -> ProportionEffect:
    """Difference of two proportions with a defined answer for every table.

    Parameters
    ----------
    control, treatment
        Moments of a 0/1 column per randomisation unit.
    alternative
        ``"two-sided"``, ``"greater"`` or ``"less"``.
    confidence
        Coverage of the interval, in (0, 1); above one half for a one-sided one.

    Returns
    -------
    ProportionEffect
        Where any of the four cells of the table is below 10: the score interval (with Miettinen and Nurminen's
        factor) and the exact p-value of Boschloo's test, or of Fisher's with more than 400 units. Elsewhere Welch's
        t.

    Notes
    -----
    The rule of ten successes and failures: Brown, Cai and DasGupta (2001), Statistical Science 16:101-133, discuss
    its kind. Valid at one look.

    Examples
    --------
    >>> result = proportion_effect(Moments.from_counts(0, 50), Moments.from_counts(6, 50))
    >>> ProportionMethod(int(result.method)).name, round(float(result.inference.low), 3)
    ('SCORE_BOSCHLOO', 0.044)
    """
    check_choice("alternative", alternative, ALTERNATIVES)
    check_probability("confidence", confidence)
    if alternative != "two-sided":
        check_probability("confidence of a one-sided interval, doubled minus one,", 2.0 * confidence - 1.0)
    large = infer(welch(control, treatment), alternative=alternative, confidence=confidence)
    x_a, n_a, x_b, n_b, status = paired_counts(control, treatment)
    with np.errstate(invalid="ignore"):
        least = np.minimum(np.minimum(x_a, n_a - x_a), np.minimum(x_b, n_b - x_b))
    small = (least < SMALL_CELL) & (status < Status.ZERO_VARIANCE)
    method = np.where(small & (n_a + n_b > BOSCHLOO_UNITS), ProportionMethod.SCORE_FISHER, ProportionMethod.WELCH)
    method = np.where(small & (n_a + n_b <= BOSCHLOO_UNITS), ProportionMethod.SCORE_BOSCHLOO, method).astype(np.int8)
    # What is not a 0/1 column is refused here, whatever Welch's test makes of it.
    refused = status >= Status.ZERO_VARIANCE
    fields = {name: np.where(refused, np.nan, np.array(getattr(large, name), np.float64)) for name in _FIELDS}
    if small.any():
        exact = _small(small, (x_a, n_a, x_b, n_b), method, alternative, confidence)
        for name in _FIELDS:
            fields[name][small] = exact[name]
    # A difference of proportions has ends of its own: an open side ends there, and so does a wide interval.
    fields["low"], fields["high"] = np.maximum(fields["low"], -1.0), np.minimum(fields["high"], 1.0)
    result_status = np.where(refused, status, np.where(small, np.int8(Status.OK), large.status)).astype(np.int8)
    fields["value"] = np.where(refused, np.nan, x_b / n_b - x_a / n_a)
    return ProportionEffect(inference=Inference(**fields, confidence=confidence, status=result_status), method=method)


_FIELDS = ("value", "low", "high", "statistic", "df", "p_value", "log_p")
_Counts = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def _small(
    small: BoolArray, counts: _Counts, method: npt.NDArray[np.int8], alternative: str, confidence: float
) -> dict[str, FloatArray]:
    x_a, n_a, x_b, n_b = (v[small] for v in counts)
    control, treatment = Moments.from_counts(x_a, n_a), Moments.from_counts(x_b, n_b)
    two_sided = alternative == "two-sided"
    interval = score_interval(control, treatment, confidence=confidence if two_sided else 2.0 * confidence - 1.0)
    log_p = np.empty(x_a.shape)
    enumerated = method[small] == ProportionMethod.SCORE_BOSCHLOO
    if enumerated.any():
        log_p[enumerated] = boschloo(control[enumerated], treatment[enumerated], alternative=alternative).log_p
    if not enumerated.all():
        rest = ~enumerated
        log_p[rest] = fisher(control[rest], treatment[rest], alternative=alternative, odds_ratio="none").log_p
    return {
        "value": interval.value,
        "low": np.full_like(log_p, -1.0) if alternative == "less" else interval.low,
        "high": np.full_like(log_p, 1.0) if alternative == "greater" else interval.high,
        "statistic": difference_score(x_a, n_a, x_b, n_b, np.zeros_like(x_a)),
        "df": np.full_like(log_p, np.inf),
        "p_value": np.exp(log_p),
        "log_p": log_p,
    }
