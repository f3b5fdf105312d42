"""Sample size, power and minimum effect where whole clusters of units are randomised, at once or step by step."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.comparisons import ComparisonOptions, check_positive
from stats.errors import OutOfRangeError, check_probability
from stats.minimum_effect import minimum_effect_means
from stats.moments import Moments
from stats.power import power_means
from stats.ratios import linearise
from stats.sample_size import SampleSize, design_effect, sample_size_means
from stats.status import FloatArray


def sample_size_clusters(
    effect: npt.ArrayLike,
    sd: npt.ArrayLike,
    *,
    mean_cluster_size: npt.ArrayLike,
    icc: npt.ArrayLike,
    cv: npt.ArrayLike = 0.0,
    power: npt.ArrayLike = 0.8,
    **comparison: Unpack[ComparisonOptions],
) -> SampleSize:
    """**Clusters** needed per arm to find a difference of means per unit.

    Parameters
    ----------
    effect
        Smallest difference to find, in the units of the metric, not 0.
    sd
        Standard deviation per unit over all clusters.
    mean_cluster_size
        Mean number of units per cluster.
    icc
        Intracluster correlation, in [0, 1].
    cv
        Coefficient of variation of the cluster sizes, at least 0.
    power
        Probability of a significant result at that effect, in (0, 1).
    **comparison
        As for `stats.sample_size.sample_size_means`.

    Returns
    -------
    SampleSize
        Numbers of clusters; times `mean_cluster_size` they are units.

    Notes
    -----
    A cluster's mean has variance ``sd**2 * design_effect / size``, and the degrees of freedom count clusters, so that
    few clusters get the larger number they need: Donner and Klar (2000), Design and Analysis of Cluster Randomization
    Trials, section 5.2. The design effect is that of `stats.sample_size.design_effect`.

    Examples
    --------
    >>> size = sample_size_clusters(0.2, 1.0, mean_cluster_size=20, icc=0.05, cv=0.6)
    >>> round(float(size.control), 2), int(size.rounded()[0])
    (46.31, 47)
    """
    return sample_size_means(effect, _cluster_sd(sd, mean_cluster_size, icc, cv), power=power, **comparison)


def power_clusters(
    effect: npt.ArrayLike,
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    mean_cluster_size: npt.ArrayLike,
    icc: npt.ArrayLike,
    cv: npt.ArrayLike = 0.0,
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Power to find a difference of means per unit with `n_control` **clusters** in control.

    Parameters
    ----------
    effect, sd, mean_cluster_size, icc, cv, **comparison
        As for `sample_size_clusters`.
    n_control
        Clusters in control; each treatment has ``allocation * n_control``.

    Examples
    --------
    >>> round(float(power_clusters(0.2, 1.0, 46.31, mean_cluster_size=20, icc=0.05, cv=0.6)), 4)
    0.8
    """
    return power_means(effect, _cluster_sd(sd, mean_cluster_size, icc, cv), n_control, **comparison)


def minimum_effect_clusters(
    sd: npt.ArrayLike,
    n_control: npt.ArrayLike,
    *,
    mean_cluster_size: npt.ArrayLike,
    icc: npt.ArrayLike,
    cv: npt.ArrayLike = 0.0,
    power: npt.ArrayLike = 0.8,
    **comparison: Unpack[ComparisonOptions],
) -> FloatArray:
    """Smallest difference of means per unit that `n_control` **clusters** in control find with the wanted power.

    Parameters
    ----------
    sd, n_control, mean_cluster_size, icc, cv, power, **comparison
        As for `power_clusters` and `sample_size_clusters`.

    Examples
    --------
    >>> round(float(minimum_effect_clusters(1.0, 46.31, mean_cluster_size=20, icc=0.05, cv=0.6)), 4)
    0.2
    """
    return minimum_effect_means(_cluster_sd(sd, mean_cluster_size, icc, cv), n_control, power=power, **comparison)


def stepped_wedge_variance(
    treated: npt.ArrayLike,
    *,
    cluster_period_size: npt.ArrayLike,
    sd: float,
    cluster_sd: float,
) -> float:
    """Variance of the effect's estimate in a planned stepped wedge, or any cluster-by-period design.

    Parameters
    ----------
    treated
        1 where a cluster is treated in a period, 0 where not, or the share treated; shape ``(clusters, periods)``.
    cluster_period_size
        Units per cluster and period, positive; broadcasts to that shape.
    sd
        Standard deviation of the units within a cluster and period.
    cluster_sd
        Standard deviation of the clusters' means, at least 0.

    Returns
    -------
    float
        In squared units of the metric; infinite where the effect cannot be told from the periods.

    Notes
    -----
    Generalised least squares with fixed periods and random clusters: Hussey and Hughes (2007), Contemporary Clinical
    Trials 28:182-191, equation 8 for equal sizes. Analyse with `stats.stepped_wedge.stepped_wedge`.

    Examples
    --------
    >>> design = [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]
    >>> round(stepped_wedge_variance(design, cluster_period_size=50, sd=1.0, cluster_sd=0.2), 6)
    0.0225
    """
    dose = np.asarray(treated, np.float64)
    if dose.ndim != 2 or not ((dose >= 0) & (dose <= 1)).all():
        raise OutOfRangeError("treated", treated, "shares between 0 and 1, one row per cluster, one column per period")
    if not 0.0 <= cluster_sd < np.inf:
        raise OutOfRangeError("cluster_sd", cluster_sd, "a number of at least 0")
    size = np.broadcast_to(check_positive("cluster_period_size", cluster_period_size), dose.shape)
    weight = size / float(check_positive("sd", sd)) ** 2
    periods = dose.shape[1]
    gram = np.zeros((periods + 1, periods + 1))
    for cluster, w in zip(dose, weight, strict=True):
        columns = np.column_stack([np.eye(periods), cluster])
        # The inverse of diag(1 / w) + cluster_sd**2 without forming it (Sherman and Morrison).
        inner = columns * w[:, np.newaxis]
        total = inner.sum(axis=0)
        gram += columns.T @ inner - np.outer(total, total) * (cluster_sd**2 / (1.0 + cluster_sd**2 * w.sum()))
    explained = gram[-1, :-1] @ np.linalg.pinv(gram[:-1, :-1], hermitian=True) @ gram[:-1, -1]
    left = float(gram[-1, -1] - explained)
    return 1.0 / left if left > 1e-12 * float(gram[-1, -1]) else float("inf")


def power_stepped_wedge(
    effect: npt.ArrayLike,
    treated: npt.ArrayLike,
    *,
    cluster_period_size: npt.ArrayLike,
    sd: float,
    cluster_sd: float,
    alpha: float = 0.05,
) -> FloatArray:
    """Power to find an effect in a planned stepped wedge (two-sided, normal).

    Parameters
    ----------
    effect
        True effect, in the units of the metric.
    treated, cluster_period_size, sd, cluster_sd
        As for `stepped_wedge_variance`.
    alpha
        Two-sided level, in (0, 1).

    Notes
    -----
    Hussey and Hughes (2007), section 3: the chance of significance in the right direction. With fewer than about 15
    clusters the t test of `stats.stepped_wedge` has a little less.

    Examples
    --------
    >>> design = [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]
    >>> round(float(power_stepped_wedge(0.4, design, cluster_period_size=50, sd=1.0, cluster_sd=0.2)), 4)
    0.7601
    """
    check_probability("alpha", alpha)
    variance = stepped_wedge_variance(treated, cluster_period_size=cluster_period_size, sd=sd, cluster_sd=cluster_sd)
    shift = np.abs(np.asarray(effect, np.float64)) / np.sqrt(variance)
    return np.asarray(special.ndtr(shift + special.ndtri(alpha / 2.0)), np.float64)


def observed_design_effect(clusters: Moments, units: Moments, *, outcome: int = 0, size: int = 1) -> FloatArray:
    """Design effect in past data: the variance of a mean over clusters against that over units taken one by one.

    Parameters
    ----------
    clusters
        Moments with one row per cluster: a column with the sum of the metric, and one with the number of units.
    units
        Moments with one row per unit, the metric in its first column.
    outcome, size
        Column numbers in `clusters`.

    Returns
    -------
    numpy.ndarray
        Factor per cell, for `stats.baseline.Baseline.clustered`; NaN without spread between units.

    Notes
    -----
    Kish (1965), Survey Sampling, section 5.4: cluster-robust variance of the mean over its simple random variance.

    Examples
    --------
    >>> clusters = Moments.from_rows([[2.0, 2], [0.0, 2], [4.0, 2]])
    >>> units = Moments.from_rows([1.0, 1.0, 0.0, 0.0, 2.0, 2.0])
    >>> round(float(observed_design_effect(clusters, units)), 4)
    2.5
    """
    per_cluster = linearise(clusters, (outcome, size))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (per_cluster.variance() / clusters.n) / (units.variance() / units.n)
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _cluster_sd(sd: npt.ArrayLike, size: npt.ArrayLike, icc: npt.ArrayLike, cv: npt.ArrayLike) -> FloatArray:
    factor = design_effect(size, icc, cv=cv) / check_positive("mean_cluster_size", size)
    return np.asarray(check_positive("sd", sd) * np.sqrt(factor), np.float64)
