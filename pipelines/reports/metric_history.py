"""What a metric was in control groups, look by look: a few numbers and a small picture of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from markupsafe import Markup, escape

from pipelines import formatting
from pipelines.definitions.metrics import Metric
from pipelines.store.snapshot import ArmValue, MetricResult, Snapshot

HEIGHT, SIDE = 30, 5
NARROW, WIDE = 120, 560
MOST_DOTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A metric in the control group of an experiment, as one look found it.

    Attributes
    ----------
    at
        Until when the data of the look go (UTC).
    snapshot
        The look.
    value, text
        Mean of all control units so far: as it is, and on screen with the decimals of all readings.
    units
        Control units in it.
    """

    at: datetime
    snapshot: Snapshot
    value: float
    text: str
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Readings of a metric, oldest first, and how they read in one sentence."""

    readings: tuple[Reading, ...]
    sentence: str

    def picture(self, *, wide: bool = False) -> Markup:
        """The readings that can be trusted as a line from left to right; nothing with fewer than two."""
        trusted = [each for each in self.readings if not each.snapshot.blocked][-MOST_DOTS:]
        return _svg([each.value for each in trusted], self.sentence, WIDE if wide else NARROW)


def history(metric: Metric, snapshots: Iterable[Snapshot]) -> History:
    """What the metric was in control groups.

    Looks at a metric of this name that was of another kind are left out, as are those without a value. Of several looks
    at the data of one day the last counts.

    Parameters
    ----------
    metric
        The metric as it is defined now.
    snapshots
        Looks at any experiments; several at one experiment are several readings.
    """
    found: dict[tuple[str, date], tuple[Snapshot, MetricResult, ArmValue]] = {}
    for snapshot in sorted(snapshots, key=lambda each: each.analysed_at):
        for result in snapshot.metrics:
            control = next((arm for arm in result.arms if arm.variant == snapshot.control), None)
            same = result.metric == metric.name and result.kind == metric.kind
            if same and control is not None and control.mean is not None:
                found[snapshot.experiment, _until(snapshot).date()] = (snapshot, result, control)
    ordered = sorted(found.values(), key=lambda each: (_until(each[0]), each[0].experiment))
    places = formatting.value_places(metric.kind, [arm.mean for _, _, arm in ordered], None)
    readings = tuple(
        Reading(
            at=_until(snapshot),
            snapshot=snapshot,
            value=control.mean or 0.0,
            text=formatting.metric_value(control.mean, kind=metric.kind, unit_label=result.unit_label, places=places),
            units=control.n,
        )
        for snapshot, result, control in ordered
    )
    return History(readings=readings, sentence=_sentence(metric.title, readings))


def _until(snapshot: Snapshot) -> datetime:
    return snapshot.data_until or snapshot.analysed_at


def _sentence(title: str, readings: Sequence[Reading]) -> str:
    trusted = [each for each in readings if not each.snapshot.blocked]
    if not trusted:
        return f"{title} in control groups: no value yet that can be trusted."
    first, last = trusted[0], trusted[-1]
    if len(trusted) == 1:
        return f"{title} in control groups: {last.text} on {formatting.date(last.at)}."
    low, high = (pick(trusted, key=lambda each: each.value) for pick in (min, max))
    return (
        f"{title} in control groups: {first.text} on {formatting.date(first.at)}, {last.text} on "
        f"{formatting.date(last.at)}; lowest {low.text}, highest {high.text} of {len(trusted)} values."
    )


def _svg(values: Sequence[float], title: str, width: int) -> Markup:
    if len(values) < 2:
        return Markup("")
    low, high = min(values), max(values)
    step = (width - 2 * SIDE) / (len(values) - 1)

    def height(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return HEIGHT - SIDE - share * (HEIGHT - 2 * SIDE)

    points = [(SIDE + place * step, height(value)) for place, value in enumerate(values)]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3.5 if place == len(points) - 1 else 2:g}" '
        'style="fill:var(--rw-neutral,#4b5568)"></circle>'
        for place, (x, y) in enumerate(points)
    )
    text = escape(formatting.for_page(title))
    return Markup(  # noqa: S704 the title is escaped, everything else are numbers
        f'<svg class="history" role="img" aria-label="{text}" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}"><title>{text}</title>'
        f'<path d="M{line}" style="fill:none;stroke:var(--rw-neutral,#4b5568);stroke-width:1.5;opacity:.6"></path>'
        f"{dots}</svg>"
    )
