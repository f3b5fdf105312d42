"""A confidence sequence of one arm, and what two of them say about the difference and the ratio of the arms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.status import FloatArray, Status, StatusArray, where_status, worst


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConfidenceSequence:
    """An estimate with the interval that covers it at all looks at once, per cell (per look).

    Attributes
    ----------
    value, low, high
        Estimate and interval ends, in the units of what is estimated; an infinite end where nothing bounds it.
    confidence
        Probability that the interval covers at every look, in (0, 1).
    status
        `Status` per cell; NaN stands wherever the status allows no number.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float
    status: StatusArray


def sequence_difference(control: ConfidenceSequence, treatment: ConfidenceSequence) -> ConfidenceSequence:
    """Difference treatment minus control of two arms' sequences.

    Parameters
    ----------
    control, treatment
        Sequences of the same quantity, for example both with confidence 0.975; cells broadcast.

    Returns
    -------
    ConfidenceSequence
        Of confidence ``1 - (alpha_control + alpha_treatment)``: both arms' intervals cover at once (Bonferroni), and
        then so does every difference between them. Exact whatever the arms' sizes, and wider than a sequence built
        for the difference itself.

    Examples
    --------
    >>> import numpy as np
    >>> from stats.sequential.rates import bernoulli_confidence_sequence
    >>> arms = [bernoulli_confidence_sequence(s, 1000, planned=1000, confidence=0.975) for s in (30, 70)]
    >>> difference = sequence_difference(*arms)
    >>> round(float(difference.low), 4), round(float(difference.high), 4), round(difference.confidence, 3)
    (-0.0045, 0.084, 0.95)
    """
    with np.errstate(invalid="ignore"):
        value = treatment.value - control.value
        low, high = treatment.low - control.high, treatment.high - control.low
    return _combined(control, treatment, value, low, high)


def sequence_ratio(control: ConfidenceSequence, treatment: ConfidenceSequence) -> ConfidenceSequence:
    """Ratio treatment over control of two arms' sequences of quantities that cannot be negative.

    Parameters
    ----------
    control, treatment
        As for `sequence_difference`; subtract 1 for a lift.

    Returns
    -------
    ConfidenceSequence
        As for `sequence_difference`; unbounded above where the control's interval reaches 0, and
        ``UNDEFINED_RELATIVE`` where the control's estimate is 0. ``INVALID_INPUT`` where an interval goes below 0.
    """
    negative = (control.low < 0) | (treatment.low < 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = treatment.value / control.value
        low = np.where(control.high > 0, treatment.low / control.high, 0.0)
        high = np.where(control.low > 0, treatment.high / control.low, np.inf)
    result = _combined(control, treatment, value, low, high)
    status = worst(
        result.status,
        where_status((control.value == 0) & (result.status < Status.UNDEFINED_RELATIVE), Status.UNDEFINED_RELATIVE),
        where_status(negative, Status.INVALID_INPUT),
    )
    keep = ~negative
    return ConfidenceSequence(
        value=np.where(keep & np.isfinite(result.value), result.value, np.nan),
        low=np.where(keep, result.low, np.nan),
        high=np.where(keep, result.high, np.nan),
        confidence=result.confidence,
        status=status,
    )


def _combined(
    control: ConfidenceSequence, treatment: ConfidenceSequence, value: FloatArray, low: FloatArray, high: FloatArray
) -> ConfidenceSequence:
    status = worst(control.status, treatment.status)
    usable = status < Status.ZERO_VARIANCE
    open_end = usable & (np.isinf(low) | np.isinf(high))
    return ConfidenceSequence(
        value=np.where(usable, value, np.nan),
        low=np.where(usable, low, np.nan),
        high=np.where(usable, high, np.nan),
        confidence=control.confidence + treatment.confidence - 1.0,
        status=worst(np.where(status == Status.UNBOUNDED, Status.OK, status), where_status(open_end, Status.UNBOUNDED)),
    )
