"""Makes tails.csv: logarithms of upper tails at 50 digits. Needs mpmath: ``python tests/reference/tails.py``."""

from __future__ import annotations

import csv
from pathlib import Path

import mpmath as mp

mp.mp.dps = 50
STATISTICS = [-40, -3, -0.5, 0.001, 0.5, 1, 2, 5, 8.3, 12, 20, 30, 36, 38, 50, 100, 1e3, 1e5, 1e10, 1e100, 1e200, 1e300]
FREEDOMS = [1, 1.01115742070495, 1.5, 2, 3, 5.3, 17, 99.7, 1000, 12345.6, 1e6, 1e8, 1e12, 1e16]
SQUARES = [1e-6, 0.3, 1, 3.84, 10, 50, 300, 1300, 1500, 4000, 1e6, 1e12]


def student_upper(t: float, nu: float) -> mp.mpf:
    """P(T > t) as half an incomplete beta function (Abramowitz and Stegun 26.5.27)."""
    if t < 0:
        return 1 - student_upper(-t, nu)
    t, nu = mp.mpf(t), mp.mpf(nu)
    a, b = nu / 2, mp.mpf(1) / 2
    log_beta = mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)
    if t < 2 and t * t < nu / 2:
        z = t * t / (nu + t * t)
        inner = mp.exp(b * mp.log(z) + a * mp.log(1 - z) - log_beta) / b * mp.hyp2f1(a + b, 1, b + 1, z)
        return (1 - inner) / 2
    x = nu / (nu + t * t)
    c, d = mp.mpf(1), 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 200_000):  # DLMF 8.17.22, by Lentz's method
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            step = c * d
            value *= step
        if abs(step - 1) < mp.mpf(10) ** -40:
            break
    return mp.exp(a * mp.log(x) + b * mp.log(1 - x) - log_beta) / a * value / 2


def normal_upper(z: float) -> mp.mpf:
    return mp.erfc(mp.mpf(z) / mp.sqrt(2)) / 2


def square_upper(x: float, nu: float) -> mp.mpf:
    return mp.gammainc(mp.mpf(nu) / 2, mp.mpf(x) / 2, mp.inf, regularized=True)


def main() -> None:
    rows = [("t", t, nu, student_upper(t, nu)) for nu in FREEDOMS for t in STATISTICS]
    rows += [("t", t, "inf", normal_upper(t)) for t in STATISTICS if t < 1e100]
    rows += [("chi2", x, nu, square_upper(x, nu)) for nu in (1, 2, 3.5, 10, 200) for x in SQUARES]
    with Path(__file__).with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["distribution", "statistic", "df", "log_upper"])
        writer.writerows([d, repr(x), nu, mp.nstr(mp.log(p), 20)] for d, x, nu, p in rows)


if __name__ == "__main__":
    main()
