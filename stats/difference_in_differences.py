"""Before and after, with and without: the effect of a change that was not randomised."""

from __future__ import annotations

import numpy as np

from stats.effect import Effect
from stats.means import mean_variance, welch
from stats.moments import Moments
from stats.status import Status, where_status, worst


@np.errstate(all="ignore")
def difference_in_differences(
    control_before: Moments,
    control_after: Moments,
    treatment_before: Moments,
    treatment_after: Moments,
    *,
    column: int = 0,
) -> Effect:
    """Change of the treatment group minus change of the control group, with other units before and after.

    Parameters
    ----------
    control_before, control_after, treatment_before, treatment_after
        Moments of four independent groups of units (repeated cross-sections); cells broadcast.
    column
        Which column of the Moments holds the metric.

    Returns
    -------
    Effect
        In the units of the metric. ``INSUFFICIENT_DATA`` where a group has fewer than two units.

    Notes
    -----
    ``(t_after - t_before) - (c_after - c_before)``: Ashenfelter and Card (1985), Review of Economics and Statistics
    67:648-660. Causal only if both groups would have changed alike without the treatment (parallel trends), which no
    statistic can show. Degrees of freedom by Satterthwaite. Units are taken as independent: for the same units twice
    use `paired_difference_in_differences`; where whole markets were treated the markets are the units.

    Examples
    --------
    >>> groups = [(500, 10.0, 4.0), (520, 10.4, 4.2), (480, 10.1, 3.9), (510, 11.0, 4.4)]
    >>> effect = difference_in_differences(*(Moments.from_summary(*group) for group in groups))
    >>> round(float(effect.value), 6), round(float(effect.se), 6)
    (0.5, 0.181189)
    """
    groups = (control_before, control_after, treatment_before, treatment_after)
    means = [group.mean[..., column] for group in groups]
    shares = [mean_variance(group, column=column) for group in groups]
    value = (means[3] - means[2]) - (means[1] - means[0])
    variance = shares[0] + shares[1] + shares[2] + shares[3]
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [(share / variance) ** 2 / (group.n - 1.0) for share, group in zip(shares, groups, strict=True)]
        df = 1.0 / (parts[0] + parts[1] + parts[2] + parts[3])
    few = [where_status(group.n < 2, Status.INSUFFICIENT_DATA) for group in groups]
    status = worst(*(group.status for group in groups), *few)
    return Effect.of(value, np.sqrt(variance), np.where(np.isnan(df), np.inf, df), status=status)


@np.errstate(all="ignore")
def paired_difference_in_differences(
    control: Moments, treatment: Moments, *, before: int = 0, after: int = 1
) -> Effect:
    """Change of the treatment group minus change of the control group, with the same units before and after.

    Parameters
    ----------
    control, treatment
        Moments of at least two columns per unit: the metric before and after.
    before, after
        Their columns.

    Notes
    -----
    Welch's comparison of the units' changes, so that what is constant about a unit drops out and the correlation of
    its two values is used. Otherwise as `difference_in_differences`.

    Examples
    --------
    >>> control = Moments.from_rows([[1.0, 1.5], [2.0, 2.6], [3.0, 3.4]])
    >>> treatment = Moments.from_rows([[1.0, 2.5], [2.0, 3.4], [3.0, 4.6]])
    >>> round(float(paired_difference_in_differences(control, treatment).value), 6)
    1.0
    """
    weights = np.zeros(control.columns)
    weights[before], weights[after] = -1.0, 1.0
    return welch(control.contrast(weights), treatment.contrast(weights))
