"""Sample size, power and minimum effect where whole clusters of units are randomised."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import numpy.typing as npt

from stats.comparisons import ComparisonOptions, check_positive
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
