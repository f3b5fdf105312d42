"""Makes t_quantiles.csv: quantiles whose tail, by ``tails.py``, is the probability to 30 digits of 40. Needs mpmath:
``python tests/reference/t_quantiles.py``."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from statistics import NormalDist

import mpmath as mp
from tails import student_upper

mp.mp.dps = 40
PROBABILITIES = [0.4, 0.25, 0.1, 0.025, 0.005, 1e-4, 1e-7, 1e-12]
FREEDOMS = [1, 1.2, 1.9, 2, 3.7, 7, 15.5, 29, 31.9, 32.1, 64.1, 150, 397.3, 1000.5, 20000, 1e6, 1e9]


def student_quantile(probability: float, nu: float) -> mp.mpf:
    """The root in log(t) of the tail's logarithm, by the secant method from a rough start."""
    start = math.log(NormalDist().inv_cdf(1.0 - probability))
    start += 0.0 if nu > 10 else -math.log(probability) / nu / 2.0
    target = mp.log(mp.mpf(probability))
    root = mp.findroot(
        lambda x: mp.log(student_upper(mp.e**x, nu)) - target, (start, start + 0.01), tol=1e-30, maxsteps=60
    )
    return mp.e**root


def main() -> None:
    rows = [(p, nu, student_quantile(p, nu)) for nu in FREEDOMS for p in PROBABILITIES]
    with Path(__file__).with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["probability", "df", "quantile"])
        writer.writerows([repr(p), nu, mp.nstr(t, 20)] for p, nu, t in rows)


if __name__ == "__main__":
    main()
