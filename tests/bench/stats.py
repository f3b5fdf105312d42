"""How fast the statistics core is. A script, not a test: `python tests/bench/stats.py`.

Every row is measured in this process beside its rival and is the best of several runs, in seconds of processor
time, so that other work on the machine does not count. A row with
a goal fails the script when it is missed:

- 100,000 Welch tests in one call, at least 100 times as fast as statsmodels' loop over tests;
- 100,000 cells, from columns of Moments to columns of estimates, intervals, p-values and statuses: 50 ms, for means of
  small and of large arms and for shares (for Fieller intervals of their lifts the same limit is only told);
- a Dunnett critical value under 2 ms;
- 10,000 exact bootstrap resamples of a million discrete values under 50 ms (more of that: `stats_resampling.py`).

Rivals that loop are measured on a few hundred tests and scaled up. tea-tasting is measured where it is installed;
gbstats needs older libraries than these and an environment of its own.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

# A script's folder comes first on the path, and this file is called like the package that it measures.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
if __name__ == "stats":  # a neighbour asked for the package and met this file
    del sys.modules["stats"]
    importlib.import_module("stats")


def best_seconds(task: Callable[[], object], runs: int = 5) -> float:
    """Processor seconds of the fastest run."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times)


def row(name: str, seconds: float, note: str, *, met: bool | None = None) -> bool:
    """Print one line; True unless a goal was missed."""
    goal = "" if met is None else "  goal met" if met else "  GOAL MISSED"
    print(f"{name:<58}{seconds * 1e3:12,.3f} ms  {note}{goal}")
    return met is not False


def welch_rows(cells: int = 100_000, units: int = 200, sample: int = 300) -> bool:
    """Our one call against loops over tests on the same arms."""
    import numpy as np
    import scipy.stats as ss  # noqa: TID251 - a rival
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    from stats.effect import infer
    from stats.means import welch
    from stats.moments import Moments

    rng = np.random.default_rng(1)
    a, b = rng.normal(5, 2, (sample, units)), rng.normal(5.1, 2, (sample, units))
    repeats = -(-cells // sample)
    mean, variance = (np.tile(x, repeats)[:cells] for x in (a.mean(axis=1), a.var(axis=1, ddof=1)))
    mean_b, variance_b = (np.tile(x, repeats)[:cells] for x in (b.mean(axis=1), b.var(axis=1, ddof=1)))
    n = np.full(cells, float(units))
    control, treatment = Moments.from_summary(n, mean, variance), Moments.from_summary(n, mean_b, variance_b)

    ours = best_seconds(lambda: infer(welch(control, treatment)))
    from_summary = best_seconds(
        lambda: infer(welch(Moments.from_summary(n, mean, variance), Moments.from_summary(n, mean_b, variance_b)))
    )

    def statsmodels_test(i: int) -> None:
        compared = CompareMeans(DescrStatsW(b[i]), DescrStatsW(a[i]))
        compared.ttest_ind(usevar="unequal")
        compared.tconfint_diff(usevar="unequal")

    def scipy_test(i: int) -> None:
        ss.ttest_ind(b[i], a[i], equal_var=False).confidence_interval()

    loops = {}
    for name, test in (("statsmodels", statsmodels_test), ("scipy", scipy_test)):
        loops[name] = best_seconds(lambda test=test: [test(i) for i in range(sample)], runs=3) / sample * cells
    at_once = best_seconds(
        lambda: ss.ttest_ind_from_stats(mean_b, variance_b**0.5, n, mean, variance**0.5, n, equal_var=False)
    )
    single, one_a, one_b = 500, control[0], treatment[0]
    one = best_seconds(lambda: [infer(welch(one_a, one_b)) for _ in range(single)], runs=3) / single

    ratio = loops["statsmodels"] / ours
    met = row(
        f"{cells:,} Welch tests with intervals, one call", ours, f"{ratio:,.0f}x statsmodels' loop", met=ratio >= 100
    )
    row(
        "  the same from counts, means and variances",
        from_summary,
        f"{loops['scipy'] / from_summary:,.0f}x scipy's loop",
    )
    row(
        "  scipy, one call, p-values only",
        at_once,
        f"ours takes {ours / at_once:.1f} times that, with intervals and log p",
    )
    row(
        "  one test at a time",
        one,
        f"{loops['statsmodels'] / cells / one:.1f}x statsmodels, {loops['scipy'] / cells / one:.1f}x scipy",
    )
    tea_tasting_row(ours / cells, units)
    return met


def cell_rows(cells: int = 100_000, limit: float = 0.05) -> bool:
    """Columns of Moments to columns of results: means of arms of three sizes, and shares."""
    import numpy as np
    from scipy import special

    from stats.effect import infer
    from stats.lift import fieller
    from stats.means import welch
    from stats.moments import Moments
    from stats.proportions import score_test
    from stats.tails import t_quantile

    rng = np.random.default_rng(5)
    met, told = True, {True: "met", False: "missed"}
    for name, least, most in (("2 to 30", 2, 30), ("20 to 1,000", 20, 1_000), ("1,000 to 100,000", 1_000, 100_000)):
        arms = [
            Moments.from_summary(
                rng.integers(least, most, cells), rng.normal(mean, 0.2, cells), rng.gamma(10, 0.4, cells)
            )
            for mean in (5.0, 5.1)
        ]
        df = welch(*arms).df
        rival = best_seconds(lambda df=df: special.stdtrit(df, 0.025), runs=3)
        seconds = best_seconds(lambda df=df: t_quantile(0.025, df), runs=9)
        row(f"{cells:,} t quantiles, arms of {name}", seconds, f"{rival / seconds:,.0f}x scipy's stdtrit")
        own = rng.uniform(1e-6, 0.05, cells)
        seconds = best_seconds(lambda df=df, own=own: t_quantile(own, df), runs=5)
        rival = best_seconds(lambda df=df, own=own: special.stdtrit(df, own), runs=3)
        row("  each at a level of its own", seconds, f"{rival / seconds:,.1f}x scipy's stdtrit")
        seconds = best_seconds(lambda arms=arms: infer(welch(*arms)), runs=9)
        met &= row("  differences of means, from Moments to results", seconds, "", met=seconds <= limit)
        seconds = best_seconds(lambda arms=arms: fieller(*arms), runs=9)
        row("  Fieller intervals of the lifts", seconds, f"limit {limit * 1e3:.0f} ms {told[seconds <= limit]}")
    n = rng.integers(1_000, 100_000, cells)
    shares = [Moments.from_counts(rng.binomial(n, p), n) for p in (0.03, 0.032)]
    seconds = best_seconds(lambda: infer(welch(*shares)), runs=9)
    met &= row(f"{cells:,} differences of shares, from Moments to results", seconds, "", met=seconds <= limit)
    seconds = best_seconds(lambda: score_test(*shares), runs=9)
    return row("  score tests of them", seconds, "", met=seconds <= limit) and met


def tea_tasting_row(ours_each: float, units: int) -> None:
    """tea-tasting analyses one experiment per call, from a table of aggregates."""
    try:
        import tea_tasting as tt
    except ModuleNotFoundError:
        print("  tea-tasting: not installed here")
        return
    data = tt.make_users_data(n_users=2 * units)
    experiment = tt.Experiment(orders=tt.Mean("orders"))
    each = best_seconds(lambda: experiment.analyze(data), runs=5)
    row("  tea-tasting, one experiment with one metric", each, f"{each / ours_each:,.0f}x our time per test")


def proportion_rows(cells: int = 10_000) -> None:
    """Intervals and exact tests of many tables at once."""
    import numpy as np

    from stats.exact_tables import fisher
    from stats.moments import Moments
    from stats.proportion_intervals import score_interval
    from stats.proportions import score_test

    rng = np.random.default_rng(2)
    n = rng.integers(1_000, 100_000, cells).astype(float)
    a, b = (Moments.from_counts(rng.binomial(n.astype(int), p), n) for p in (0.03, 0.032))
    for name, task in (
        ("score tests", score_test),
        ("score intervals", score_interval),
        ("Fisher's exact tests", lambda a, b: fisher(a, b, odds_ratio="none")),
        ("Fisher's exact tests with odds ratios", fisher),
    ):
        row(f"{cells:,} {name}, one call", best_seconds(lambda task=task: task(a, b), runs=2), "")


def dunnett_row() -> bool:
    """One critical value, as a dashboard needs it."""
    import numpy as np
    import scipy.stats as ss  # noqa: TID251 - a rival

    from stats.many_to_one import shared_control_quantile

    loadings = np.sqrt(np.array([0.5, 0.4, 0.3, 0.2]))
    ours = best_seconds(lambda: shared_control_quantile(loadings, 57.0), runs=20)
    rng = np.random.default_rng(3)
    arms = [rng.normal(size=30) for _ in range(5)]
    rival = best_seconds(lambda: ss.dunnett(*arms[1:], control=arms[0], rng=rng).confidence_interval(), runs=2)
    return row("Dunnett critical value, 4 uneven arms, 57 df", ours, f"{rival / ours:,.0f}x scipy's", met=ours < 2e-3)


def bootstrap_row() -> bool:
    """The exact bootstrap of a histogram."""
    import numpy as np

    from stats.histogram import Histogram
    from stats.resampling import resampled_means

    rng = np.random.default_rng(4)
    histogram = Histogram.from_counts(np.arange(20), rng.multinomial(1_000_000, np.full(20, 0.05)))
    ours = best_seconds(lambda: resampled_means(histogram, resamples=10_000, rng=rng))
    return row("10,000 resamples of 1e6 values, 20 distinct", ours, "", met=ours < 0.05)


def main() -> int:
    """Run every row; 1 if a goal was missed."""
    results = [welch_rows(), cell_rows(), dunnett_row(), bootstrap_row()]
    proportion_rows()
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
