"""Quantiles of the difference and of the ratio of two independent beta distributions: ends of credible intervals."""

from __future__ import annotations

import numpy as np
from scipy import special

from stats.beta_comparison import Betas, log_density, lower_tail, outskirts, position, support
from stats.roots import bracketed_root
from stats.status import BoolArray, FloatArray

# Tanh-sinh nodes on (-1, 1): ends where a distribution function starts like a root do not slow them down.
_STEP = 0.08
_S = _STEP * np.arange(-40, 41)
_NODES = np.tanh(0.5 * np.pi * np.sinh(_S))
_WEIGHTS = _STEP * 0.5 * np.pi * np.cosh(_S) / np.cosh(0.5 * np.pi * np.sinh(_S)) ** 2
_DEPTH = 30.0
_LARGEST_LOG_RATIO = 700.0


def contrast_quantiles(control: Betas, treatment: Betas, probability: float, *, relative: bool) -> FloatArray:
    """Quantile of B - A, or of ``B / A - 1``, for A of `control` and B of `treatment`, per cell.

    ``P(B <= A + d)`` is the mean over the narrower distribution of the other's distribution function, taken where
    that lies between 0 and 1; where it is 1, the mass beyond is added.
    """
    over_b = treatment.spread <= control.spread
    narrow, wide = treatment.where(over_b, control), control.where(over_b, treatment)
    peak = np.zeros_like(narrow.a)
    limits = support(narrow, None, peak, outskirts(narrow, peak), _DEPTH)

    def excess(contrast: FloatArray) -> FloatArray:
        return _chance_at_most(narrow, wide, over_b, limits, contrast, relative=relative) - probability

    centre, sd = _rough_scale(control, treatment, relative=relative)
    middle = centre + special.ndtri(probability) * sd
    widest = _LARGEST_LOG_RATIO if relative else 1.0
    low, high = (np.clip(middle + sign * sd, -widest, widest) for sign in (-1.0, 1.0))
    missed = (excess(low) > 0) | (excess(high) < 0)
    root = bracketed_root(excess, np.where(missed, -widest, low), np.where(missed, widest, high), accuracy=1e-10)
    return np.asarray(np.expm1(root) if relative else root, np.float64)


def _chance_at_most(
    narrow: Betas,
    wide: Betas,
    over_b: BoolArray,
    limits: tuple[FloatArray, FloatArray],
    contrast: FloatArray,
    *,
    relative: bool,
) -> FloatArray:
    """``P(B - A <= contrast)`` or ``P(log(B / A) <= contrast)``, summed over B where `over_b`, else over A."""
    move = np.where(over_b, -contrast, contrast)
    if relative:
        first, last = np.zeros_like(move), np.exp(np.minimum(-move, 0.0))
    else:
        first, last = np.maximum(-move, 0.0), np.minimum(1.0 - move, 1.0)
    # What the sum leaves out: beyond the end where the other's share is certain.
    full_a = np.where(last < 1.0, lower_tail(narrow.mirrored(), 1.0 - last, last), 0.0)
    full_b = np.where(first > 0.0, lower_tail(narrow, first, 1.0 - first), 0.0)
    with np.errstate(divide="ignore"):
        ends = [np.clip(special.logit(end) - narrow.log_odds, *limits) for end in (first, last)]
    edges = np.stack([ends[0], np.clip(0.0, ends[0], ends[1]), ends[1]], axis=-1)
    half = np.diff(edges, axis=-1)[..., np.newaxis] / 2.0
    t = (edges[:, :-1, np.newaxis] + half * (1.0 + _NODES)).reshape(move.size, -1)
    weights = (half * _WEIGHTS).reshape(move.size, -1)
    n, w = narrow.column(), wide.column()
    x, rest = position(n, t)
    shift = move[:, np.newaxis]
    at = x * np.exp(shift) if relative else x + shift
    beyond = 1.0 - at if relative else rest - shift
    side = over_b[:, np.newaxis]
    tail = lower_tail(w.mirrored().where(side, w), np.where(side, beyond, at), np.where(side, at, beyond))
    summed = np.einsum("cn,cn,cn->c", weights, np.exp(log_density(n, t)), tail)
    return np.asarray(summed + np.where(over_b, full_b, full_a), np.float64)


def _rough_scale(control: Betas, treatment: Betas, *, relative: bool) -> tuple[FloatArray, FloatArray]:
    """Rough centre and standard deviation of the contrast: where to look first."""
    p, q = control.mean, treatment.mean
    if relative:
        variance = (1.0 - p) / (control.total * p) + (1.0 - q) / (treatment.total * q)
        return np.log(q) - np.log(p), np.sqrt(variance)
    return q - p, np.sqrt(p * (1.0 - p) / control.total + q * (1.0 - q) / treatment.total)
