"""How fast resampling and adjustment are. A script, not a test: `python tests/bench/stats_resampling.py`.

Every row is measured in this process beside its rival and is the best of several runs, in seconds of processor
time, so that other work on the machine does not count. A row with
a limit fails the script when it is missed: 10,000 exact bootstrap resamples of a million discrete values must take less
than 50 ms. The rivals do the same task on the same data: drawing every unit again with numpy (a thousandth of the
resamples, scaled up), `scipy.stats` (a hundredth, scaled up), and a loop of statsmodels regressions (one, scaled up).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import scipy.stats as ss  # noqa: TID251  # the rival
import statsmodels.api as sm

from stats.adjustment import cuped, regression_adjustment
from stats.bootstrap import bootstrap_effect
from stats.histogram import Histogram
from stats.moments import Moments
from stats.permutation import permutation_test
from stats.ranks import mann_whitney
from stats.ratios import ratio_effect
from stats.resampling import resampled_means

UNITS, RESAMPLES, DISTINCT, CELLS = 1_000_000, 10_000, 50, 100_000
LIMIT_SECONDS = 0.050


def best_seconds(task: Callable[[], object], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times)


def row(
    name: str, seconds: float, *, rival: str = "", rival_seconds: float | None = None, limit: float | None = None
) -> bool:
    against = f"{rival_seconds / seconds:10,.0f}x {rival}" if rival_seconds is not None else ""
    met = limit is None or seconds < limit
    goal = "" if limit is None else f"  limit {limit * 1e3:.0f} ms: {'met' if met else 'MISSED'}"
    print(f"{name:<66}{seconds * 1e3:12,.2f} ms  {against}{goal}")
    return met


def resampling(rng: np.random.Generator) -> bool:
    met = True
    for distinct in (2, 10, DISTINCT, 4 * DISTINCT):
        counts = rng.multinomial(UNITS, rng.dirichlet(np.ones(distinct)))
        histogram = Histogram.from_counts(np.arange(distinct), counts)
        units = np.repeat(histogram.values, counts)
        ours = best_seconds(lambda h=histogram: resampled_means(h, resamples=RESAMPLES, rng=rng))
        few = RESAMPLES // 1000
        naive = 1000 * best_seconds(
            lambda u=units, k=few: [u[rng.integers(UNITS, size=UNITS)].mean() for _ in range(k)], runs=1
        )
        met &= row(
            f"{RESAMPLES:,} exact resamples of {UNITS:,} units, {distinct} distinct values",
            ours,
            rival="drawing every unit",
            rival_seconds=naive,
            limit=LIMIT_SECONDS if distinct <= DISTINCT else None,
        )
    ours = best_seconds(lambda: resampled_means(histogram, resamples=RESAMPLES, rng=rng, scheme="poisson"))
    row(f"the same by Poisson weights, {distinct} distinct values", ours)
    ours = best_seconds(lambda: bootstrap_effect(histogram, histogram, rng=rng, resamples=RESAMPLES, method="bca"))
    row("BCa interval of a difference of two such arms", ours)
    sample = units[rng.integers(UNITS, size=2000)]
    small = Histogram.from_rows(sample)
    ours = best_seconds(lambda: resampled_means(small, resamples=RESAMPLES, rng=rng))
    theirs = 100 * best_seconds(
        lambda: ss.bootstrap((sample,), np.mean, n_resamples=RESAMPLES // 100, method="percentile", rng=rng), runs=3
    )
    row("10,000 resamples of 2,000 units", ours, rival="scipy.stats.bootstrap", rival_seconds=theirs)
    ours = best_seconds(lambda: permutation_test(histogram, histogram, rng=rng, exact=False))
    row(f"9,999 permutations of two arms of {UNITS:,} units", ours)
    a, b = rng.integers(0, 40, (2, UNITS))
    ours = best_seconds(lambda: mann_whitney(Histogram.from_rows(a), Histogram.from_rows(b)))
    theirs = best_seconds(lambda: ss.mannwhitneyu(b, a), runs=3)
    row(f"Mann-Whitney of two arms of {UNITS:,} units from rows", ours, rival="scipy", rival_seconds=theirs)
    return met


def adjustment(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(200, 4)) + 5.0
    covariance = np.cov(rows.T)
    means = 5.0 + 0.01 * rng.normal(size=(2, CELLS, 4))
    arms = [Moments.from_summary(np.full(CELLS, 200.0), m, np.broadcast_to(covariance, (CELLS, 4, 4))) for m in means]
    design = np.column_stack([np.ones(400), np.repeat([0.0, 1.0], 200), np.vstack([rows, rows])[:, 1:3]])
    outcome = np.concatenate([rows[:, 0], rows[:, 0]])
    loop = CELLS * best_seconds(lambda: sm.OLS(outcome, design).fit(cov_type="HC2").bse, runs=20)
    for name, task in (
        ("ratio effects", lambda: ratio_effect(*arms)),
        ("CUPED, two covariates", lambda: cuped(*arms, covariates=(1, 2))),
        ("Lin's regression, two covariates", lambda: regression_adjustment(*arms, covariates=(1, 2))),
    ):
        row(f"{CELLS:,} {name} in one call", best_seconds(task, 3), rival="statsmodels OLS loop", rival_seconds=loop)


def main() -> int:
    rng = np.random.default_rng(20260101)
    met = resampling(rng)
    adjustment(rng)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
