"""Counts against fixed probabilities: the Dirichlet-multinomial e-value, accurate for a billion units."""

from __future__ import annotations

import numpy as np

from stats.binomial import half_deviance, stirling_remainder
from stats.status import FloatArray


def dirichlet_log_e(counts: FloatArray, null: FloatArray, prior: FloatArray) -> FloatArray:
    """Logarithm of the Bayes factor of a Dirichlet mixture against one vector of probabilities.

    Parameters
    ----------
    counts
        Units per category, not negative, need not be whole; shape ``cells + (m,)``.
    null
        Probabilities under the hypothesis, positive, adding to 1; broadcasts.
    prior
        Dirichlet parameters of the mixture, positive; broadcasts.

    Returns
    -------
    FloatArray
        ``log B(prior + counts) - log B(prior) - sum(counts * log(null))``, shape ``cells``.

    Notes
    -----
    The three terms are each of the size of the counts; their difference is not. With Stirling's formula taken out of
    every gamma function, what remains is a sum of deviances and remainders, none of which cancels.
    """
    after = prior + counts
    before_sum, after_sum = prior.sum(axis=-1), after.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        deviances = half_deviance(after, after_sum[..., np.newaxis] * null) - half_deviance(
            prior, before_sum[..., np.newaxis] * null
        )
        each = stirling_remainder(after) - stirling_remainder(prior) - 0.5 * np.log(after / prior)
        total = stirling_remainder(after_sum) - stirling_remainder(before_sum) - 0.5 * np.log(after_sum / before_sum)
        return np.asarray((deviances + each).sum(axis=-1) - total, np.float64)
