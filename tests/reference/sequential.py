"""Makes sequential.csv: mixture e-values from their definition, by quadrature at 30 digits.

Needs mpmath: ``python tests/reference/sequential.py``. Nothing here uses a closed form of the answer.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import mpmath as mp

mp.mp.dps = 30


def normal(t: float, ratio: float, sides: str) -> mp.mpf:
    """Effects in standard errors ~ N(0, ratio), or its positive half doubled."""
    t, ratio = mp.mpf(t), mp.mpf(ratio)
    centre, spread = t * ratio / (1 + ratio), mp.sqrt(ratio / (1 + ratio))
    low, scale = (-mp.inf, 1) if sides == "two-sided" else (mp.mpf(0), 2)
    knots = [
        low,
        *(centre + k * spread for k in (-10, -3, 0, 3, 10) if low == -mp.inf or centre + k * spread > 0),
        mp.inf,
    ]

    def density(d):
        return mp.exp(-d * d / (2 * ratio)) / mp.sqrt(2 * mp.pi * ratio)

    return scale * mp.quad(lambda d: mp.exp(t * d - d * d / 2) * density(d), knots)


def student(t: float, ratio: float, df: float, sides: str) -> mp.mpf:
    """Noncentral over central t density, noncentrality ~ N(0, ratio), or its positive half doubled."""
    t, ratio, nu = mp.mpf(t), mp.mpf(ratio), mp.mpf(df)

    def density(d: mp.mpf) -> mp.mpf:
        # Up to factors that do not depend on d (the quadrature stops at an absolute error): over w = sqrt(chi2 / nu).
        def inner(w):
            return w**nu * mp.exp(-nu * (w * w - 1) / 2 - (t * w - d) ** 2 / 2)

        return mp.quad(inner, [0, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 3, 8])

    low, scale = (-12, 1) if sides == "two-sided" else (0, 2)
    reach = mp.sqrt(ratio)
    knots = sorted({mp.mpf(0), *(low * reach * mp.mpf(k) / 12 for k in (12, 4)), *(reach * k for k in (1, 3, 12))})

    def prior(d):
        return mp.exp(-d * d / (2 * ratio)) / mp.sqrt(2 * mp.pi * ratio)

    return scale * mp.quad(lambda d: density(d) * prior(d), knots) / density(mp.mpf(0))


def best_ratio(alpha: float, sides: str) -> mp.mpf:
    """Two-sided: Lambert's W_{-1}. One-sided: where the derivative of the squared critical value vanishes."""
    alpha = mp.mpf(alpha)
    if sides == "two-sided":
        return -mp.lambertw(-(alpha**2) / mp.e, -1) - 1

    def squared(r: mp.mpf) -> mp.mpf:
        level = mp.log(mp.sqrt(1 + r) / alpha)
        u = mp.findroot(lambda x: x * x / 2 + mp.log(2 * mp.ncdf(x)) - level, mp.sqrt(2 * level))
        return u * u * (1 + r) / r

    return mp.findroot(lambda r: mp.diff(squared, r), mp.mpf(5) if alpha < 0.2 else mp.mpf(1))


def gamma_exponential(s: float, v: float, rho: float, c: float) -> mp.mpf:
    """exp(x s - psi(x) v), psi(x) = (-log(1 - c x) - c x) / c**2, averaged over y = 1 - c x: gamma cut to (0, 1)."""
    s, v, rho, c = (mp.mpf(x) for x in (s, v, rho, c))
    shape = rho / c**2

    def weight(y):
        return y ** (shape - 1) * mp.exp(-shape * y)

    def value(y):
        return mp.exp((1 - y) / c * s + (mp.log(y) + 1 - y) / c**2 * v)

    knots = [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]
    return mp.quad(lambda y: weight(y) * value(y), knots) / mp.quad(weight, knots)


def gamma_poisson(s: float, v: float, rho: float, c: float) -> mp.mpf:
    """exp(x s - psi(x) v), psi(x) = (exp(c x) - c x - 1) / c**2, averaged over y = exp(c x): gamma cut to above 1."""
    s, v, rho, c = (mp.mpf(x) for x in (s, v, rho, c))
    shape = rho / c**2

    def weight(y):
        return y ** (shape - 1) * mp.exp(-shape * y)

    def value(y):
        return mp.exp(mp.log(y) / c * s - (y - mp.log(y) - 1) / c**2 * v)

    knots = [1, 1.2, 1.5, 2, 3, 6, 20, mp.inf]
    return mp.quad(lambda y: weight(y) * value(y), knots) / mp.quad(weight, knots)


def beta_binomial(s: float, v: float, offset: float, g: float, h: float, sides: str) -> mp.mpf:
    """Binomial likelihood ratio averaged over a beta prior around the null, or over its part above the null."""
    s, v, r, g, h = (mp.mpf(x) for x in (s, v, offset, g, h))
    p0 = g / (g + h)
    wins, losses = (v + h * s) / (h * (g + h)), (v - g * s) / (g * (g + h))
    a, b = r / (h * (g + h)), r / (g * (g + h))
    low = p0 if sides == "one-sided" else mp.mpf(0)
    knots = sorted({low, *(low + (1 - low) * mp.mpf(k) / 8 for k in range(9))})

    def prior(p):
        return p ** (a - 1) * (1 - p) ** (b - 1)

    def ratio(p):
        return (p / p0) ** wins * ((1 - p) / (1 - p0)) ** losses

    return mp.quad(lambda p: prior(p) * ratio(p), knots) / mp.quad(prior, knots)


def dirichlet(counts: list[int], null: list[str], prior: list[str]) -> mp.mpf:
    """Bayes factor by gamma functions of 60 digits."""
    with mp.workdps(60):
        theta, a = [mp.mpf(x) for x in null], [mp.mpf(x) for x in prior]
        total = mp.loggamma(sum(a)) - mp.loggamma(sum(a) + sum(counts))
        return total + sum(
            mp.loggamma(x + n) - mp.loggamma(x) - n * mp.log(t) for x, n, t in zip(a, counts, theta, strict=True)
        )


def two_streams(control: list[int], treatment: list[int], shares: list[str], size: float, share: float) -> mp.mpf:
    """Conditional likelihood averaged over log ratios, with the density of `size` pseudo-events at `share`."""
    a, s0 = mp.mpf(size), mp.mpf(share)

    def prior(x):
        return mp.exp(a * s0 * x - a * mp.log(s0 * mp.exp(x) + 1 - s0))

    def likelihood(x: mp.mpf) -> mp.mpf:
        total = mp.mpf(0)
        for c, t, given in zip(control, treatment, shares, strict=True):
            s = mp.mpf(given)
            total += t * x - (c + t) * mp.log(s * mp.exp(x) + 1 - s)
        return mp.exp(total)

    knots = [-60, -20, -6, -2, -1, -0.5, -0.2, 0, 0.2, 0.5, 1, 2, 6, 20, 60]
    return mp.quad(lambda x: prior(x) * likelihood(x), knots) / mp.quad(prior, knots)


def cases() -> list[tuple[str, dict[str, Any], mp.mpf]]:
    rows: list[tuple[str, dict[str, Any], mp.mpf]] = []
    for sides in ("two-sided", "one-sided"):
        for t, ratio in [(0, 1), (1.5, 0.2), (3, 4), (-2.5, 10), (6, 500), (-0.3, 0.01)]:
            rows.append(("normal", {"t": t, "ratio": ratio, "sides": sides}, mp.log(normal(t, ratio, sides))))
        for t, ratio, df in [(0.5, 1, 3), (2.5, 12, 50), (-2, 4, 5), (4, 30, 8), (3, 0.5, 200)]:
            given = {"t": t, "ratio": ratio, "df": df, "sides": sides}
            rows.append(("student", given, mp.log(student(t, ratio, df, sides))))
        rows += [
            ("best_ratio", {"alpha": alpha, "sides": sides}, best_ratio(alpha, sides))
            for alpha in (0.5, 0.1, 0.05, 0.01, 1e-6)
        ]
        for s, v, offset, g, h in [(10, 100, 12, 0.2, 0.8), (-7, 60, 5, 0.5, 0.5), (0, 30, 2, 0.9, 0.1)]:
            given = {"s": s, "v": v, "offset": offset, "g": g, "h": h, "sides": sides}
            rows.append(("beta_binomial", given, mp.log(beta_binomial(s, v, offset, g, h, sides))))
    for s, v, rho, c in [(10, 100, 17, 2), (-5, 20, 4, 1), (40, 60, 9, 0.5)]:
        given = {"s": s, "v": v, "rho": rho, "scale": c}
        rows.append(("gamma_exponential", given, mp.log(gamma_exponential(s, v, rho, c))))
        rows.append(("gamma_poisson", given, mp.log(gamma_poisson(s, v, rho, c))))
    for counts, null, prior in [
        ([5_000_000, 5_010_000], ["0.5", "0.5"], ["0.5", "0.5"]),
        ([10**9, 3 * 10**9 + 12345], ["0.25", "0.75"], ["2500", "7500"]),
        ([3, 0, 40], ["0.125", "0.125", "0.75"], ["1", "2", "0.5"]),
        ([0, 0], ["0.5", "0.5"], ["1", "1"]),
    ]:
        given = {"counts": counts, "null": [float(x) for x in null], "prior": [float(x) for x in prior]}
        rows.append(("dirichlet", given, dirichlet(counts, null, prior)))
    for control, treatment, shares, size, share in [
        ([40, 60], [10, 90], ["0.1", "0.5"], 20, 0.5),
        ([990, 300, 55], [10, 120, 45], ["0.01", "0.25", "0.5"], 50, 0.5),
        ([0, 3], [0, 0], ["0.25", "0.75"], 2, 0.25),
    ]:
        given = {
            "control": control,
            "treatment": treatment,
            "shares": [float(x) for x in shares],
            "size": size,
            "share": share,
        }
        rows.append(("two_streams", given, mp.log(two_streams(control, treatment, shares, size, share))))
    return rows


def main() -> None:
    rows = cases()
    with Path(__file__).with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "inputs", "value"])
        for kind, inputs, value in rows:
            writer.writerow([kind, json.dumps(inputs), mp.nstr(value, 20)])


if __name__ == "__main__":
    main()
