"""The scorecard: one row per metric and treatment, every number already in words."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines import formatting
from pipelines.reports import wording
from pipelines.reports.wording import Tone
from pipelines.store.snapshot import ArmValue, Comparison, MetricResult, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorecardRow:
    """A treatment against control on one metric, as it is shown.

    Attributes
    ----------
    metric, metric_label, description, role, role_label, better, better_text
        Name, name on screen, sentence, role (``"success"``...) and its word, good direction and its words.
    control, treatment
        Names of the two variants.
    control_text, treatment_text
        The metric's values with their unit; ``"withheld"`` for a treatment whose effect is.
    control_units, treatment_units, units_text
        Units analysed per arm, and both in words.
    change_text, interval_text
        The relative change and its interval; where there is no lift, the difference and its interval in their place.
    difference_text, difference_interval_text, p_text, p_exact_text, confidence_text
        The effect in words. Where there is no number, the words say why.
    method_text
        Where interval and p-value come from, in a few words.
    no_lift
        Why the change is a difference, in a few words; empty where it is a lift.
    verdict, verdict_label, tone, glyph, icon, verdict_text
        The verdict (``None`` while withheld), its word, colour class, signs, and glyph and word together.
    reason, why
        The verdict's reason in a sentence; why a number is missing, empty where none is.
    lift, low, high
        The relative effect and its interval as proportions, for the axis: infinite where unbounded, ``None`` where
        there is no number or it is withheld.
    difference, p_value
        Raw numbers; ``None`` where there is none or they are withheld.
    margin_at
        Where a guardrail's tolerance ends, a signed proportion; ``None`` for other roles.
    validity, validity_text
        When the interval may be read.
    withheld
        Whether the effect is not shown: a fixed plan before its planned end, a sequential one without a look.
    greyed
        Whether the numbers are shown but must not be acted on: a health check blocks.
    """

    metric: str
    metric_label: str
    description: str
    role: str
    role_label: str
    better: str
    better_text: str
    control: str
    treatment: str
    control_text: str
    treatment_text: str
    control_units: int
    treatment_units: int
    units_text: str
    change_text: str
    interval_text: str
    difference_text: str
    difference_interval_text: str
    p_text: str
    p_exact_text: str
    confidence_text: str
    method_text: str
    no_lift: str
    verdict: str | None
    verdict_label: str
    verdict_text: str
    tone: Tone
    glyph: str
    icon: str
    reason: str
    why: str
    lift: float | None
    low: float | None
    high: float | None
    difference: float | None
    p_value: float | None
    margin_at: float | None
    validity: str
    validity_text: str
    withheld: bool
    greyed: bool


def effects_withheld(snapshot: Snapshot, comparison: Comparison) -> bool:
    """Whether this comparison must not be shown yet.

    A fixed-horizon interval is valid once, at the planned end; a sequential one where the plan could judge.
    """
    if comparison.validity == "fixed":
        return snapshot.phase != "ended"
    return comparison.verdict is None and not snapshot.blocked


def shown_at(snapshot: Snapshot) -> str:
    """When withheld effects will be shown, in words: ``"at the planned end, 17 Nov 2025"``."""
    progress = snapshot.plan_progress
    if snapshot.plan.design == "fixed" or snapshot.phase == "planned":
        return f"at the planned end, {formatting.date(snapshot.end)}"
    if progress is None or progress.next_look is None:
        return "at a later look"
    return f"at the next look, {formatting.date(progress.next_look)}"


def scorecard(snapshot: Snapshot) -> tuple[ScorecardRow, ...]:
    """One row per metric and treatment, in the snapshot's order: success, guardrails, secondary, exploratory.

    Before the planned end of a fixed design the effects are withheld, and with them the treatments' values, from which
    everybody can subtract: an early look at a fixed-horizon interval is how false positives are made. Where a health
    check blocks, the numbers stay (greyed, for whoever looks for the cause) and the verdicts do not.
    """
    return tuple(_row(snapshot, metric, comparison) for metric in snapshot.metrics for comparison in metric.comparisons)


def _row(snapshot: Snapshot, metric: MetricResult, comparison: Comparison) -> ScorecardRow:
    arms = {arm.variant: arm for arm in metric.arms}
    control, treatment = arms[snapshot.control], arms[comparison.treatment]
    withheld = effects_withheld(snapshot, comparison)
    word = wording.verdict_word(None if snapshot.blocked else comparison.verdict)
    low, high = (None, None) if withheld else _drawn_interval(comparison)
    texts = _withheld_texts(snapshot) if withheld else _effect_texts(metric, comparison, snapshot.plan.minimum_effect)
    control_text, treatment_text = _values(metric, control, None if withheld else treatment)
    sign = -1.0 if metric.better == "higher" else 1.0
    return ScorecardRow(
        metric=metric.metric,
        metric_label=metric.label,
        description=metric.description,
        role=metric.role,
        role_label=wording.name_in_words(metric.role, wording.ROLES),
        better=metric.better,
        better_text=f"{metric.better} is better",
        control=snapshot.control,
        treatment=comparison.treatment,
        control_text=control_text,
        treatment_text=treatment_text,
        control_units=control.n,
        treatment_units=treatment.n,
        units_text=f"{formatting.count(control.n)} / {formatting.count(treatment.n)}",
        **texts,
        confidence_text=formatting.short_percent(comparison.confidence),
        method_text=formatting.NONE
        if withheld or comparison.p_value is None
        else wording.SEQUENTIAL_METHODS.get(comparison.validity)
        or wording.METHODS.get(comparison.method, comparison.method),
        no_lift=_no_lift(comparison) if not withheld else "",
        verdict=None if snapshot.blocked else comparison.verdict,
        verdict_label=word.label,
        verdict_text=word.text,
        tone=word.tone,
        glyph=word.glyph,
        icon=word.icon,
        reason=comparison.reason,
        why=wording.status_sentence(comparison.status) or wording.status_sentence(comparison.lift_status),
        lift=None if withheld else comparison.lift,
        low=low,
        high=high,
        difference=None if withheld else comparison.difference,
        p_value=None if withheld else comparison.p_value,
        margin_at=None if metric.margin is None else sign * metric.margin,
        validity=comparison.validity,
        validity_text=wording.VALIDITIES.get(comparison.validity, comparison.validity),
        withheld=withheld,
        greyed=snapshot.blocked,
    )


def _no_lift(comparison: Comparison) -> str:
    # Where there is no interval either, its place already says why.
    known = comparison.lift is not None or comparison.difference_interval is None
    return "" if known else wording.status_short(comparison.lift_status)


def _drawn_interval(comparison: Comparison) -> tuple[float | None, float | None]:
    """The lift's interval where there is a lift: what stands on the axis."""
    return (None, None) if comparison.lift is None else comparison.lift_interval or (None, None)


def _withheld_texts(snapshot: Snapshot) -> dict[str, str]:
    fixed = snapshot.plan.design == "fixed"
    when = f"until {formatting.date(snapshot.end)}" if fixed else f"shown {shown_at(snapshot)}"
    single = dict.fromkeys(("change_text", "difference_text", "p_text", "p_exact_text"), "withheld")
    ranges = dict.fromkeys(("interval_text", "difference_interval_text"), when)
    return {**single, **ranges}


def _effect_texts(metric: MetricResult, comparison: Comparison, minimum_effect: float) -> dict[str, str]:
    low, high = _drawn_interval(comparison)
    limits = (0.0,) if metric.margin is None else (0.0, -metric.margin, metric.margin)
    limits = (*limits, -minimum_effect, minimum_effect)
    places = formatting.shared_places((comparison.lift, low, high), limits, scale=100)
    scale = 100 if metric.kind in formatting.SHARES else 1
    ends = comparison.difference_interval or (None, None)
    fine = formatting.shared_places((comparison.difference, *ends), (0.0,), scale=scale)

    def lift(value: float | None) -> str:
        return formatting.signed_percent(value, places=places)

    def difference(value: float | None) -> str:
        return formatting.difference(value, kind=metric.kind, unit_label=metric.unit_label, places=fine)

    known, p = comparison.difference is not None, (comparison.p_value, comparison.log_p)
    words = wording.status_short(comparison.status) or formatting.NONE
    apart = difference(comparison.difference) if known else words
    spread = formatting.interval(*ends, lower=difference(ends[0]), upper=difference(ends[1]))
    spread = words if ends[0] is None else spread
    relative = formatting.interval(low, high, lower=lift(low), upper=lift(high))
    relative = wording.status_short(comparison.lift_status) or formatting.NONE if low is None else relative
    related = comparison.lift is not None
    return {
        "change_text": lift(comparison.lift) if related else apart,
        "interval_text": relative if related else spread,
        "difference_text": apart,
        "difference_interval_text": spread,
        "p_text": words if p[0] is None else formatting.p_value(*p),
        "p_exact_text": words if p[0] is None else formatting.exact_p_value(*p),
    }


def _values(metric: MetricResult, control: ArmValue, treatment: ArmValue | None) -> tuple[str, str]:
    # One precision for all arms of a metric: the control reads the same beside every treatment.
    base = control.mean
    shown = metric.arms if treatment else (control,)
    gaps = [abs(arm.mean - base) for arm in shown if arm.mean is not None and base is not None]
    smallest = min((gap for gap in gaps if gap > 0), default=None)
    means = [arm.mean for arm in shown]
    places = formatting.value_places(metric.kind, means, smallest, unit_label=metric.unit_label)

    def text(arm: ArmValue) -> str:
        if arm.mean is None:
            return wording.status_short(arm.status) or formatting.NONE
        return formatting.metric_value(arm.mean, kind=metric.kind, unit_label=metric.unit_label, places=places)

    return text(control), text(treatment) if treatment else "withheld"
