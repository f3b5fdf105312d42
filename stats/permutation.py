"""Permutation test of a difference of means: exact for small samples, Monte Carlo for large ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, islice
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.effect import ALTERNATIVES
from stats.errors import OutOfRangeError, StatsError, check_choice
from stats.histogram import Histogram, align
from stats.status import BoolArray, FloatArray, Status, StatusArray, where_status, worst

STATISTICS = ("difference", "studentised")
EXACT_LIMIT = 200_000
EXACT_MOST = 5_000_000
_BLOCK = 4_000_000
# Drawing one count costs about as much as shuffling this many units.
_SHUFFLE = 32
# Sums of the same values in another order differ by rounding: closer than this they are the same statistic.
_SAME = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Permutation:
    """Result of a permutation test, per cell.

    Attributes
    ----------
    value
        Difference of means, treatment minus control, in the units of the metric.
    p_value
        Share of the permutations at least as extreme; for Monte Carlo ``(b + 1) / (m + 1)``, never 0.
    permutations
        How many there are (exact) or were drawn.
    exact
        Cells where all permutations were counted.
    status
        `Status` per cell.
    """

    value: FloatArray
    p_value: FloatArray
    permutations: FloatArray
    exact: BoolArray
    status: StatusArray


def permutation_test(
    control: Histogram,
    treatment: Histogram,
    *,
    statistic: str = "difference",
    alternative: str = "two-sided",
    exact: bool | None = None,
    resamples: int = 9_999,
    rng: np.random.Generator | None = None,
) -> Permutation:
    """Test that the arms have the same distribution, by reassigning the units.

    Parameters
    ----------
    control, treatment
        Distributions per randomisation unit (``Histogram.from_rows`` for rows); cells broadcast.
    statistic
        ``"difference"`` of means, or ``"studentised"`` (Welch's t), which stays valid for the hypothesis of equal
        *means* when the spreads differ.
    alternative
        ``"two-sided"``, ``"greater"`` or ``"less"``.
    exact
        True: count all permutations; False: draw; None: count where there are at most 200,000.
    resamples
        Permutations drawn, at least 1.
    rng
        Source of randomness; needed wherever permutations are drawn.

    Returns
    -------
    Permutation
        ``INSUFFICIENT_DATA`` for an empty arm (studentised: fewer than two units), ``ZERO_VARIANCE`` where all values
        are the same.

    Raises
    ------
    OutOfRangeError
        If an option is out of range, or ``exact=True`` would mean more than 5 million permutations.
    StatsError
        If permutations have to be drawn and no generator was passed.

    Notes
    -----
    Exact under random assignment for any n and distribution (Fisher 1935, The Design of Experiments, section 21).
    ``(b + 1) / (m + 1)``: Phipson and Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9:39.
    Studentised: Janssen (1997), Statistics and Probability Letters 36:9-21. Draws reassign counts of distinct values
    (multivariate hypergeometric), so a million units with few values cost as little as a hundred. Valid at one look.

    Examples
    --------
    >>> control = Histogram.from_rows([12, 15, 9, 11, 20])
    >>> treatment = Histogram.from_rows([18, 22, 25, 14, 30, 19])
    >>> result = permutation_test(control, treatment)
    >>> round(float(result.p_value), 6), int(result.permutations)
    (0.032468, 462)
    """
    check_choice("statistic", statistic, STATISTICS)
    check_choice("alternative", alternative, ALTERNATIVES)
    if resamples < 1:
        raise OutOfRangeError("resamples", resamples, "at least 1")
    a, b = align(control, treatment)
    shape = np.broadcast_shapes(a.status.shape, b.status.shape)
    counts = [np.broadcast_to(h.counts, (*shape, h.values.size)) for h in (a, b)]
    n, m = counts[0].sum(axis=-1), counts[1].sum(axis=-1)
    fewest = 1 if statistic == "difference" else 2
    few = where_status((n < fewest) | (m < fewest), Status.INSUFFICIENT_DATA)
    constant = where_status(((counts[0] + counts[1]) > 0).sum(axis=-1) < 2, Status.ZERO_VARIANCE)
    status = np.broadcast_to(worst(a.status, b.status, few, constant), shape).copy()
    value = b.moments().mean[..., 0] - a.moments().mean[..., 0]
    p_value, drawn = np.full(shape, np.nan), np.zeros(shape)
    was_exact = np.zeros(shape, dtype=bool)
    # Each cell has permutations of its own; within a cell all of them are one array.
    for cell in map(tuple, np.argwhere(status < Status.ZERO_VARIANCE)):
        test = _Cell.of(a.values, counts[0][cell], counts[1][cell], statistic, alternative)
        count_all = test.permutations <= EXACT_LIMIT if exact is None else exact
        if count_all:
            p_value[cell], drawn[cell], was_exact[cell] = test.exact(), test.permutations, True
        else:
            if rng is None:
                raise StatsError(
                    f"{test.permutations:.3g} permutations are too many to count. "
                    "Pass rng=numpy.random.default_rng(seed) to draw some of them."
                )
            p_value[cell], drawn[cell] = test.drawn(resamples, rng), resamples
    return Permutation(
        value=np.where(status <= Status.ZERO_VARIANCE, value, np.nan),
        p_value=p_value,
        permutations=drawn,
        exact=was_exact,
        status=status,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cell:
    """One cell's pooled values, centred, and its observed statistic."""

    values: FloatArray
    total: npt.NDArray[np.int64]
    chosen: int
    observed: float
    statistic: str
    alternative: str

    @classmethod
    def of(
        cls, values: FloatArray, control: FloatArray, treatment: FloatArray, statistic: str, alternative: str
    ) -> _Cell:
        pooled = control + treatment
        centred = values - (pooled @ (values - values[0])) / pooled.sum() - values[0]
        total = np.rint(pooled).astype(np.int64)
        cell = cls(
            values=centred,
            total=total,
            chosen=round(float(treatment.sum())),
            observed=0.0,
            statistic=statistic,
            alternative=alternative,
        )
        observed = float(cell._score(treatment @ centred, treatment @ (centred * centred)))
        return cls(
            values=centred,
            total=total,
            chosen=cell.chosen,
            observed=observed,
            statistic=statistic,
            alternative=alternative,
        )

    @property
    def permutations(self) -> float:
        return float(np.rint(special.binom(float(self.total.sum()), float(self.chosen))))

    def exact(self) -> float:
        if self.permutations > EXACT_MOST:
            raise OutOfRangeError("exact", "True", f"False or None for {self.permutations:.3g} permutations")
        units = np.repeat(self.values, self.total)
        hits = 0
        for block in _subsets(units.size, self.chosen):
            members = units[block]
            hits += int(self._extreme(members.sum(axis=-1), (members * members).sum(axis=-1)).sum())
        return hits / self.permutations

    def drawn(self, resamples: int, rng: np.random.Generator) -> float:
        present = self.total > 0
        colours, values = self.total[present], self.values[present]
        # Shuffling costs one step per unit, drawing the counts one (dearer) step per distinct value.
        method: Literal["count", "marginals"] = "count" if colours.sum() <= _SHUFFLE * colours.size else "marginals"
        step = max(1, _BLOCK // colours.size)
        hits = 0
        for start in range(0, resamples, step):
            size = min(step, resamples - start)
            counts = rng.multivariate_hypergeometric(colours, self.chosen, size=size, method=method)
            hits += int(self._extreme(counts @ values, counts @ (values * values)).sum())
        return (hits + 1) / (resamples + 1)

    def _score(self, sums: npt.ArrayLike, squares: npt.ArrayLike) -> FloatArray:
        """The statistic from the treatment's sum and sum of squares of centred values."""
        total, n = np.asarray(sums, np.float64), float(self.total.sum())
        m = float(self.chosen)
        rest = n - m
        # Values are centred, so control's sum is minus the treatment's.
        gap = total / m + total / rest
        if self.statistic == "difference":
            return gap
        all_squares = float(self.total @ (self.values * self.values))
        inside = np.asarray(squares, np.float64)
        var_treatment = np.maximum(inside - total * total / m, 0.0) / (m - 1.0)
        var_control = np.maximum(all_squares - inside - total * total / rest, 0.0) / (rest - 1.0)
        se = np.sqrt(var_treatment / m + var_control / rest)
        floor = 1e-12 * np.sqrt(all_squares)
        return np.asarray(gap / np.maximum(se, floor), np.float64)

    def _extreme(self, sums: FloatArray, squares: FloatArray) -> BoolArray:
        score = self._score(sums, squares)
        scale = float(np.sqrt(self.total @ (self.values * self.values))) if self.statistic == "difference" else 1.0
        slack = _SAME * max(abs(self.observed), scale / float(self.total.sum()))
        if self.alternative == "two-sided":
            return np.asarray(np.abs(score) >= abs(self.observed) - slack, np.bool_)
        if self.alternative == "greater":
            return np.asarray(score >= self.observed - slack, np.bool_)
        return np.asarray(score <= self.observed + slack, np.bool_)


def _subsets(n: int, size: int) -> Iterator[npt.NDArray[np.intp]]:
    """All subsets of `size` of n units, in blocks of rows."""
    every = combinations(range(n), size)
    rows = max(1, _BLOCK // size)
    while True:
        block = np.fromiter(chain.from_iterable(islice(every, rows)), dtype=np.intp)
        if not block.size:
            return
        yield block.reshape(-1, size)
