"""Student quantiles of many cells, each with a probability of its own, by Cornish and Fisher's series."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from stats.status import BoolArray, FloatArray

Polynomial: TypeAlias = dict[int, Fraction]
TERMS = 8
ENOUGH = 16.0
"""Degrees of freedom per ``z**2 + 4`` from which the first term left out is below 1e-15 of the quantile."""
_BLOCK = 8_192


def expandable(z: FloatArray, df: FloatArray) -> BoolArray:
    """Where the series may be used: z is the normal quantile, at most 8.3 (a probability of 1e-16) in size."""
    with np.errstate(invalid="ignore"):
        return (df >= ENOUGH * (z * z + 4.0)) & (df < np.inf) & (np.abs(z) < 8.3)


def expanded_quantile(z: FloatArray, df: FloatArray) -> FloatArray:
    """The quantile with the same probability above it as the normal quantile z has, shape ``(n,)``."""
    found = np.empty(z.shape)
    for start in range(0, z.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = _expanded(z[part], df[part])
    return found


def _expanded(z: FloatArray, df: FloatArray) -> FloatArray:
    square, inverse = z * z, 1.0 / df
    total = np.zeros_like(z)
    for polynomial in reversed(_polynomials()):
        term = np.full_like(z, polynomial[-1])
        for coefficient in polynomial[-2::-1]:
            term *= square
            term += coefficient
        total += term
        total *= inverse
    total *= z
    total += z
    return total


@lru_cache(maxsize=1)
def _polynomials() -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(each) for each in polynomial) for polynomial in polynomials(TERMS))


def polynomials(terms: int) -> tuple[tuple[Fraction, ...], ...]:
    """Coefficients of ``P_k`` in ``t = z + sum(z * P_k(z**2) / df**k)``, lowest power of ``z**2`` first.

    Notes
    -----
    Both tails are equal, so ``t'(z)`` is the ratio of the two densities, and its logarithm's derivative gives
    ``(df + t**2) (t'' + z t') = (df + 1) t t'**2``. Order by order that is ``g'' - z g' - g = r`` with a known odd
    polynomial r, solved from its highest power down. The first four are Abramowitz and Stegun 26.7.5, from Fisher and
    Cornish (1960), Technometrics 2:209-225.
    """
    series: list[Polynomial] = [{1: Fraction(1)}]
    for order in range(1, terms + 1):
        known: Polynomial = {}
        for a in range(order):  # t**2 (t'' + z t') and t t'**2 one order below
            for b in range(order - a):
                c = order - 1 - a - b
                slopes = _plus(_slope(_slope(series[c])), _shifted(_slope(series[c])))
                known = _plus(known, _times(_times(series[a], series[b]), slopes))
                known = _plus(known, _times(_times(series[a], _slope(series[b])), _slope(series[c])), -1)
        for a in range(order):  # t t'**2 of this order, without the terms that hold the unknown one
            for b in range(order + 1 - a):
                c = order - a - b
                if max(a, b, c) < order:
                    known = _plus(known, _times(_times(series[a], _slope(series[b])), _slope(series[c])), -1)
        found: Polynomial = {}
        for power in range(max(known), 0, -2):
            above = found.get(power + 2, Fraction(0)) * (power + 2) * (power + 1)
            found[power] = (above + known.get(power, Fraction(0))) / (power + 1)
        series.append(found)
    return tuple(tuple(each[power] for power in sorted(each)) for each in series[1:])


def _slope(p: Polynomial) -> Polynomial:
    return {power - 1: power * value for power, value in p.items() if power}


def _shifted(p: Polynomial) -> Polynomial:
    return {power + 1: value for power, value in p.items()}


def _plus(p: Polynomial, q: Polynomial, sign: int = 1) -> Polynomial:
    return {power: p.get(power, Fraction(0)) + sign * q.get(power, Fraction(0)) for power in p.keys() | q.keys()}


def _times(p: Polynomial, q: Polynomial) -> Polynomial:
    product: Polynomial = {}
    for i, x in p.items():
        for j, y in q.items():
            product[i + j] = product.get(i + j, Fraction(0)) + x * y
    return product
