"""All pieces of Fieller sets whose critical value differs along the line, found on a circle of lifts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stats.fieller_ends import (
    Cells,
    ContrastCritical,
    CriticalAt,
    FiellerKind,
    FiellerSets,
    FoundSets,
    WelchContrast,
    refined_end,
    surely_intervals,
)
from stats.status import BoolArray, FloatArray
from stats.tails import t_quantile

# Parts the circle is cut into. The critical value changes over tenths of a radian, also where an arm has two units.
_PARTS = 64
# Cells at a time, which bounds the memory of their places on the circle.
_BLOCK = 4096
_ROUNDS = 200
_EPSILON = float(np.finfo(np.float64).eps)


def sets_by_contrast(
    found: FoundSets,
    sets: FiellerSets,
    degrees: WelchContrast,
    alternative: str,
    usable: BoolArray,
    by: float | CriticalAt,
) -> FoundSets:
    """Sets with a critical value for the degrees of freedom of each contrast: of Student's tail, or another's."""
    tail = by if isinstance(by, float) else None
    at: CriticalAt = (lambda df, _: t_quantile(by, df)) if isinstance(by, float) else by

    def critical(lift: FloatArray, cells: Cells) -> FloatArray:
        return at(degrees(lift, cells), cells)

    # With a variance of 0 in one arm the degrees of freedom are the other arm's at every lift.
    usable = usable & np.isfinite(sets.u) & (sets.rest > 0) & (sets.v_a > 0)
    doubtful = usable & ~surely_intervals(sets, degrees, at, tail=tail)
    refined = refined_sets(_without(found, doubtful), critical, sets, alternative)
    cells = np.flatnonzero(usable & (refined.kind == FiellerKind.PIECES))
    return refined.with_cells(cells, pieced_sets(critical, sets, cells)) if cells.size else refined


def refined_sets(found: FoundSets, critical: ContrastCritical, sets: FiellerSets, alternative: str) -> FoundSets:
    """Intervals with each end at its own critical value, ``PIECES`` without ends where there is no such end."""
    low, high = found.low, found.high
    if alternative != "less":
        low = refined_end(low, -1.0, critical, sets)
    if alternative != "greater":
        high = refined_end(high, 1.0, critical, sets)
    lost = (np.isnan(low) | np.isnan(high)) & (found.kind == FiellerKind.BOUNDED)
    return _without(replace(found, low=low, high=high), lost)


def _without(found: FoundSets, cells: BoolArray) -> FoundSets:
    """Without ends in some cells, for the time being or for good."""
    if not cells.any():
        return found
    return replace(
        found,
        kind=np.where(cells, np.int8(FiellerKind.PIECES), found.kind),
        low=np.where(cells, -np.inf, found.low),
        high=np.where(cells, np.inf, found.high),
        gap_low=np.where(cells, np.nan, found.gap_low),
        gap_high=np.where(cells, np.nan, found.gap_high),
    )


@np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore")
def pieced_sets(critical: ContrastCritical, sets: FiellerSets, cells: npt.NDArray[np.intp]) -> FoundSets:
    """Hull, shape and gap of the sets of some cells, from all their pieces.

    Parameters
    ----------
    critical
        Critical value of the contrast at a lift; infinite lifts are asked for too.
    sets
        The sets of all cells.
    cells
        Places of the cells wanted, shape ``(n,)``; neither the baseline's variance nor ``sets.rest`` may be 0 there.

    Returns
    -------
    FoundSets
        Of shape ``(n,)``. An infinite lift is in the set exactly where the set is unbounded; a finite end is a root.

    Notes
    -----
    With independent arms of t-statistics A and B the statistic of the contrast at the ratio ``sqrt(v_b / v_a) tan(x)``
    is ``sqrt(A**2 + B**2) sin(x - x0)``, x0 the place of the estimate (the geometry of Fieller's theorem: von Luxburg
    and Franz 2009, Statistica Sinica 19:1095-1117). Infinite lifts are one point of that circle. The sign of statistic
    minus critical value is taken at places all around; where it comes closest to 0 between two of them, too.
    """
    found = [_block(critical, sets, cells[start : start + _BLOCK]) for start in range(0, cells.size, _BLOCK)]
    return FoundSets.joined(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Circle:
    """Angles from the estimate, of some cells: the lift at an angle, and how far its statistic is beyond critical.

    Attributes
    ----------
    cells, estimate
        Places of the cells and their estimates, shape ``(n,)`` like all others.
    tilt
        Tangent of the estimate's angle from the contrast that is the treatment's mean alone.
    radius
        Largest statistic of any contrast.
    scale
        Lift per radian at the estimate, times the cosine of the estimate's angle.
    up, down
        Angle between the estimate and an infinite lift, above and below; together pi.
    """

    critical: ContrastCritical
    cells: npt.NDArray[np.intp]
    estimate: FloatArray
    tilt: FloatArray
    radius: FloatArray
    scale: FloatArray
    up: FloatArray
    down: FloatArray

    @classmethod
    def of(cls, critical: ContrastCritical, sets: FiellerSets, cells: npt.NDArray[np.intp]) -> _Circle:
        v_a, root = sets.v_a[cells], np.sqrt(sets.rest[cells])
        centre = sets.u[cells] * v_a - sets.c[cells]
        tilt = centre / root
        length = np.hypot(1.0, tilt)
        return cls(
            critical=critical,
            cells=cells,
            estimate=sets.u[cells],
            tilt=tilt,
            radius=length / np.sqrt(v_a),
            scale=root / v_a * length,
            up=np.arctan2(root, centre),
            down=np.arctan2(root, -centre),
        )

    def lift(self, angle: FloatArray, rows: npt.NDArray[np.intp]) -> FloatArray:
        """Lifts at angles, infinite where the angle is `up` or minus `down`."""
        left = np.where(angle > 0, self.up[rows] - angle, self.down[rows] + angle)
        return self.estimate[rows] + self.scale[rows] * np.sin(angle) / np.sin(np.maximum(left, 0.0))

    def excess(self, angle: FloatArray, rows: npt.NDArray[np.intp]) -> FloatArray:
        """Statistic minus critical value, at most 0 in the set; `angle` and `rows` of one shape ``(k,)``."""
        beyond = self.critical(self.lift(angle, rows), self.cells[rows])
        return self.radius[rows] * np.abs(np.sin(angle)) - beyond


def _block(critical: ContrastCritical, sets: FiellerSets, cells: npt.NDArray[np.intp]) -> FoundSets:
    circle = _Circle.of(critical, sets, cells)
    angle, excess = _with_turns(circle, *_places(circle))
    inside = excess <= 0
    # Of a set that holds infinite lifts the complement is an interval or several; the same is asked of both.
    open_ended = inside[:, 0]
    middle = inside != open_ended[:, np.newaxis]
    runs = np.count_nonzero(middle[:, 1:] & ~middle[:, :-1], axis=1)
    rows = np.flatnonzero(runs > 0)
    first = middle[rows].argmax(axis=1)
    last = middle.shape[1] - middle[rows, ::-1].argmax(axis=1)
    low, high = np.full(cells.size, np.nan), np.full(cells.size, np.nan)
    for ends, after in ((low, first), (high, last)):
        ends[rows] = circle.lift(_roots(circle, rows, angle[rows, after - 1], angle[rows, after]), rows)
    return _described(open_ended, runs, low, high)


def _described(open_ended: BoolArray, runs: npt.NDArray[np.intp], low: FloatArray, high: FloatArray) -> FoundSets:
    """Shapes, from whether infinite lifts are in the set, and first and last end of what is not like them."""
    one = np.where(open_ended, np.int8(FiellerKind.EXTERIOR), np.int8(FiellerKind.BOUNDED))
    kind = np.where(runs == 1, one, np.int8(FiellerKind.PIECES))
    kind = np.where(open_ended & (runs == 0), np.int8(FiellerKind.WHOLE_LINE), kind).astype(np.int8)
    gap = kind == FiellerKind.EXTERIOR
    return FoundSets(
        kind=kind,
        low=np.where(open_ended, -np.inf, low),
        high=np.where(open_ended, np.inf, high),
        gap_low=np.where(gap, low, np.nan),
        gap_high=np.where(gap, high, np.nan),
    )


def _places(circle: _Circle) -> tuple[FloatArray, FloatArray]:
    """Angles from one infinite lift over the estimate to the other, and the excess there; shape ``(n, places)``."""
    cells, count = circle.cells.size, _PARTS + 1
    turn = np.linspace(-0.5 * np.pi, 0.5 * np.pi, count)
    sine, cosine, tangent = np.sin(turn), np.cos(turn), np.tan(turn)
    tangent[0], tangent[-1] = -np.inf, np.inf
    length = np.hypot(1.0, circle.tilt)[:, np.newaxis]
    tilt = circle.tilt[:, np.newaxis]
    lift = circle.estimate[:, np.newaxis] + circle.scale[:, np.newaxis] / length * (tangent - tilt)
    beyond = circle.critical(lift.ravel(), np.repeat(circle.cells, count)).reshape(lift.shape)
    excess = circle.radius[:, np.newaxis] / length * np.abs(sine - tilt * cosine) - beyond
    # Both ends are the same point.
    excess[:, -1] = excess[:, 0]
    angle = np.linspace(0.0, np.pi, count) - circle.down[:, np.newaxis]
    angle[:, -1] = circle.up
    # The estimate takes its place between them.
    after = np.count_nonzero(angle < 0, axis=1)
    column = np.arange(count + 1)
    source = column - (column > after[:, np.newaxis])
    angle, excess = (np.take_along_axis(x, np.minimum(source, count - 1), axis=1) for x in (angle, excess))
    rows = np.arange(cells)
    angle[rows, after] = 0.0
    excess[rows, after] = -circle.critical(circle.estimate, circle.cells)
    return angle, excess


def _with_turns(circle: _Circle, angle: FloatArray, excess: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Places moved to where the excess turns back before 0, so that no pair of ends hides between two of them."""
    period = np.pi
    at = np.concatenate((angle[:, -2:-1] - period, angle), axis=1)
    value = np.concatenate((excess[:, -2:-1], excess), axis=1)
    before, here, after = value[:, :-2], value[:, 1:-1], value[:, 2:]
    alike = (before > 0) == (here > 0)
    alike &= (after > 0) == (here > 0)
    rows, columns = np.nonzero(alike & (np.abs(here) <= np.minimum(np.abs(before), np.abs(after))))
    # Vertex of the parabola through three places.
    middle = at[rows, columns + 1]
    left, right = at[rows, columns] - middle, at[rows, columns + 2] - middle
    fall, rise = before[rows, columns] - here[rows, columns], after[rows, columns] - here[rows, columns]
    vertex = 0.5 * (right * right * fall - left * left * rise) / (right * fall - left * rise)
    vertex = middle + np.where(np.isfinite(vertex), np.clip(vertex, 0.99 * left, 0.99 * right), 0.0)
    vertex = np.where(vertex < -circle.down[rows], vertex + period, vertex)
    turned = circle.excess(vertex, rows)
    angle[rows[columns > 0], columns[columns > 0]] = vertex[columns > 0]
    excess[rows[columns > 0], columns[columns > 0]] = turned[columns > 0]
    # The place of infinite lifts must stay: its turn is one place more, by default that place again.
    angle, excess = (np.concatenate((x, x[:, -1:]), axis=1) for x in (angle, excess))
    again = columns == 0
    rows = rows[again]
    angle[rows, -1], excess[rows, -1] = vertex[again], turned[again]
    order = np.argsort(angle[rows], axis=1, kind="stable")
    angle[rows], excess[rows] = (np.take_along_axis(x[rows], order, axis=1) for x in (angle, excess))
    return angle, excess


def _roots(circle: _Circle, rows: npt.NDArray[np.intp], a: FloatArray, b: FloatArray) -> FloatArray:
    """Angles without excess between two of different sign: Anderson and Bjorck (1973), BIT 13:253-264."""
    at_a, at_b = circle.excess(a, rows), circle.excess(b, rows)
    found = np.where(np.abs(at_a) < np.abs(at_b), a, b)
    # Next to a root rounding may have lent a place its sign.
    places = np.flatnonzero(at_a * at_b < 0)
    a, at_a, b, at_b = (x[places] for x in (a, at_a, b, at_b))
    before = np.abs(at_b)
    for number in range(_ROUNDS):
        if not places.size:
            break
        new = b - at_b * (b - a) / (at_b - at_a)
        led = (new - a) * (new - b) <= 0
        if number % 3 == 2:
            # Beside lifts at which nothing can be rejected the critical value grows beyond all bounds, and lines lead
            # nowhere: what came no closer in three rounds is halved.
            led &= np.abs(at_b) <= 0.5 * before
            before = np.abs(at_b)
        new = np.where(led, new, 0.5 * (a + b))
        value = circle.excess(new, rows[places])
        across = (value > 0) != (at_b > 0)
        factor = 1.0 - value / at_b
        a = np.where(across, b, a)
        at_a = np.where(across, at_b, at_a * np.where(factor > 0, factor, 0.5))
        found[places] = new
        size = circle.radius[rows[places]] * np.abs(np.sin(new))
        going = (np.abs(value) > 2.0 * _EPSILON * size) & (np.abs(new - a) > 2.0 * _EPSILON * np.abs(new))
        places, before = places[going], before[going]
        a, at_a, b, at_b = (x[going] for x in (a, at_a, new, value))
    return found
