"""Makes fieller_sets.csv: Fieller sets of small arms by brute force. Needs mpmath:
``python tests/reference/fieller_sets.py``.

A lift is in the set where Welch's two-sided test of ``treatment - (1 + lift) * control`` against 0 has a p-value of at
least 1 - confidence. That is asked at 6,000 lifts, infinite ones among them; between two of different answers the
end is sought with 30 digits of 40.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
from scipy import special
from tails import student_upper

mp.mp.dps = 40
LIFTS = 6_000
KINDS = {(False, 1): "bounded", (True, 1): "exterior", (True, 0): "whole_line"}
COLUMNS = ["n_a", "mean_a", "variance_a", "n_b", "mean_b", "variance_b", "confidence"]
# Of each kind, drawn at random, with a positive or a negative control; and three that were once found in circles.
WANTED = {"bounded": 12, "exterior": 12, "whole_line": 6, "pieces": 12, "pieces of bounded": 12}
GIVEN = [(7, 10.0, 4.0, 2, 7.0, 7.0, 0.95), (10, 10.0, 5.0, 2, 6.0, 23.0, 0.95), (8, 10.0, 2.0, 2, 5.0, 163.0, 0.95)]
Cell = tuple[float, float, float, float, float, float, float]


def contrast(ratio: Any, cell: Any) -> tuple[Any, Any]:
    """Squared statistic and degrees of freedom of ``treatment - ratio * control``."""
    n_a, a, v_a, n_b, b, v_b, _ = cell
    part, rest = ratio * ratio * v_a / n_a, v_b / n_b
    df = (part + rest) ** 2 / (part * part / (n_a - 1) + rest * rest / (n_b - 1))
    return (b - ratio * a) ** 2 / (part + rest), df


def end(low: float, high: float, cell: Cell) -> mp.mpf:
    """The ratio between two whose p-value is 1 - confidence, by the Illinois method."""

    exact = [mp.mpf(x) for x in cell]

    def beyond(ratio: mp.mpf) -> mp.mpf:
        square, df = contrast(ratio, exact)
        return mp.log(2 * student_upper(mp.sqrt(square), df)) - mp.log(1 - exact[-1])

    return mp.findroot(beyond, (mp.mpf(low), mp.mpf(high)), solver="illinois", tol=1e-30, maxsteps=200)


def brute_force(cell: Cell) -> tuple[str, list[tuple[float, float]]]:
    """Kind of the set, and pairs of ratios between which the ends of its pieces lie, in increasing order."""
    n_a, a, v_a, n_b, b, v_b, confidence = cell
    open_ended = bool(2.0 * special.stdtr(n_a - 1, -abs(a) / math.sqrt(v_a / n_a)) >= 1.0 - confidence)
    angles = np.linspace(-np.pi / 2, np.pi / 2, LIFTS + 1)[1:-1]
    ratios = np.sort(np.append(np.tan(angles) * math.sqrt(v_b / n_b / (v_a / n_a)), b / a))
    square, df = contrast(ratios, cell)
    inside = 2.0 * special.stdtr(df, -np.sqrt(square)) >= 1.0 - confidence
    # Otherwise an end lies beyond the outermost lifts.
    assert inside[0] == inside[-1] == open_ended
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    kind = KINDS.get((open_ended, len(changes) // 2), "pieces" if open_ended else "pieces of bounded")
    return kind, [(float(ratios[i]), float(ratios[i + 1])) for i in changes]


def drawn(rng: np.random.Generator) -> Cell:
    n_a, n_b = rng.integers(2, 12, 2)
    mean_b = rng.normal(9.0, 1.0) * rng.choice([1.0, 0.3, -0.3])
    v_a, v_b = np.exp(rng.normal(0.0, 1.5, 2))
    confidence = rng.choice([0.8, 0.95, 0.99, 0.999])
    sign = rng.choice([1.0, -1.0])
    return tuple(round(float(x), 3) for x in (n_a, sign * rng.normal(8.0, 1.0), v_a, n_b, mean_b, v_b, confidence))


def main() -> None:
    rng, left = np.random.default_rng(1), dict(WANTED)
    cells = [(cell, *brute_force(cell)) for cell in GIVEN]
    while any(left.values()):
        cell = drawn(rng)
        kind, pairs = brute_force(cell)
        if left[kind] > 0:
            left[kind] -= 1
            cells.append((cell, kind, pairs))
    with Path(__file__).with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, "kind", "ends"])
        for cell, kind, pairs in cells:
            sign = -1 if cell[1] < 0 else 1
            ends = sorted(sign * (end(*pair, cell) - 1) for pair in pairs)
            writer.writerow([*cell, kind, " ".join(mp.nstr(each, 20) for each in ends)])


if __name__ == "__main__":
    main()
