"""What a snapshot keeps beside the main result: segments, choices, policies, maturity, caps, activation, the method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.analysis.experiment_moments import ExperimentMoments, MetricMoments
from pipelines.analysis.health import SAMPLE_RATIO_LIMIT, sample_ratio_check
from pipelines.analysis.pairs import Pair
from pipelines.analysis.stored_moments import arm_moments, moments_record
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from pipelines.store.breakdowns import (
    ActivationArm,
    ActivationRecord,
    CapRecord,
    ChoiceEffects,
    EffectNumbers,
    Interaction,
    MaturityRecord,
    PolicyMetric,
    PolicyResult,
    SegmentArm,
    SegmentCell,
    SegmentResult,
)
from pipelines.store.detail import ArmDistribution, BaselineEffects, Distribution
from pipelines.store.snapshot import MetricResult
from stats.effect import infer
from stats.heterogeneity import segment_heterogeneity
from stats.moments import Moments
from stats.ratios import linearise
from stats.status import FloatArray, Status


def with_breakdowns(
    experiment: Experiment, found: ExperimentMoments, metric: Metric, result: MetricResult, *, confidence: float
) -> MetricResult:
    """The result with its segments, choices and caps, what all of it is computed from, and the units still open."""
    moments = found.metrics[metric.name]
    order = [arm.variant for arm in result.arms]
    maturity = None
    if moments.columns.matures_days is not None:
        maturity = MaturityRecord(
            open_units=moments.immature,
            units=sum(found.exposed.analysed.values()),
            left_out=moments.columns.always_matured or experiment.immature == "exclude",
            matures_at=moments.matures_at,
        )
    return replace(
        result,
        segments=_segments(experiment, found, metric, confidence),
        maturity=maturity,
        caps=_caps(moments),
        choices=_choices(experiment, found, metric, confidence),
        distribution=_distribution(experiment, found, moments),
        baselines=_baselines(experiment, found, metric, confidence),
        moments=moments_record(order, found.variants, moments),
    )


def effect_numbers(
    experiment: Experiment,
    variants: Sequence[str],
    metric: Metric,
    moments: Moments,
    found: MetricMoments,
    confidence: float,
    *,
    baseline: str | None = None,
) -> tuple[EffectNumbers, ...]:
    """Every other variant against control, or another baseline, from Moments whose only axis is the variants."""
    columns = _columns(experiment, variants, metric, moments, found, confidence, baseline=baseline)
    return tuple(each.row(0) for each in columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _EffectColumns:
    """A treatment against its baseline in many cells: computed at once; a row is made when it is asked for.

    Attributes
    ----------
    numbers
        By field of `EffectNumbers`, one value per cell in the order of the flattened cells.
    """

    treatment: str
    confidence: float
    numbers: Mapping[str, list[float | None]]
    status: list[int]

    def row(self, cell: int) -> EffectNumbers:
        """One cell."""
        return EffectNumbers(
            treatment=self.treatment,
            confidence=self.confidence,
            status=Status(self.status[cell]).label,
            **{name: values[cell] for name, values in self.numbers.items()},
        )


def _columns(
    experiment: Experiment,
    variants: Sequence[str],
    metric: Metric,
    moments: Moments,
    found: MetricMoments,
    confidence: float,
    *,
    baseline: str | None = None,
) -> tuple[_EffectColumns, ...]:
    """Every other variant against control, or another baseline; the first axis of the Moments is the variants."""
    against = baseline or experiment.control
    others = [name for name in (experiment.control, *(v.name for v in experiment.treatments)) if name != against]
    columns = []
    for name in others:
        pair = Pair.of(metric, moments[variants.index(against)], moments[variants.index(name)], found.covariates)
        effect, lift = pair.effect, pair.lift(confidence)
        result = infer(effect, confidence=confidence)
        shown, stated = lift.status <= Status.UNBOUNDED, effect.status <= Status.ZERO_VARIANCE
        numbers = {
            "difference": np.where(stated, effect.value, np.nan),
            "se": np.where(stated, effect.se, np.nan),
            "low": result.low,
            "high": result.high,
            "lift": np.where(shown, lift.value, np.nan),
            "lift_low": np.where(shown, lift.low, np.nan),
            "lift_high": np.where(shown, lift.high, np.nan),
        }
        columns.append(
            _EffectColumns(
                treatment=name,
                confidence=confidence,
                numbers={key: _numbers(values) for key, values in numbers.items()},
                status=effect.status.ravel().tolist(),
            )
        )
    return tuple(columns)


def _numbers(values: FloatArray) -> list[float | None]:
    """Flattened, with None for what is not finite."""
    return [value if math.isfinite(value) else None for value in values.ravel().tolist()]


def _distribution(experiment: Experiment, found: ExperimentMoments, moments: MetricMoments) -> Distribution | None:
    if moments.distribution is None:
        return None
    bins, counts = moments.distribution
    names = [experiment.control, *(variant.name for variant in experiment.treatments)]
    return Distribution(
        bins=tuple((float(low), float(high)) for low, high in bins),
        arms=tuple(
            ArmDistribution(variant=name, units=tuple(int(n) for n in counts[found.variants.index(name)]))
            for name in names
        ),
    )


def _baselines(
    experiment: Experiment, found: ExperimentMoments, metric: Metric, confidence: float
) -> tuple[BaselineEffects, ...]:
    """Against each treatment, where there are several."""
    moments, names = found.metrics[metric.name], [variant.name for variant in experiment.treatments]
    if len(names) < 2:
        return ()
    return tuple(
        BaselineEffects(
            baseline=name,
            effects=effect_numbers(
                experiment, found.variants, metric, moments.total, moments, confidence, baseline=name
            ),
        )
        for name in names
    )


def _segments(
    experiment: Experiment, found: ExperimentMoments, metric: Metric, confidence: float
) -> tuple[SegmentResult, ...]:
    moments = found.metrics[metric.name]
    order = [experiment.control, *(variant.name for variant in experiment.treatments)]
    places = [found.variants.index(name) for name in order]
    results = []
    for attribute, of_cells in moments.by_segment.items():
        values = found.segments[attribute]
        means = linearise(of_cells, moments.outcome).mean[places, :, 0]
        columns = _columns(experiment, found.variants, metric, of_cells, moments, confidence)
        cells = []
        for place, value in enumerate(values):
            arms = tuple(
                SegmentArm(variant=name, n=int(of_cells.n[row, place]), mean=_number(mean))
                for name, row, mean in zip(order, places, means[:, place], strict=True)
            )
            effects = tuple(each.row(place) for each in columns)
            rest = found.rests[attribute] and place == len(values) - 1
            kept = arm_moments(order, found.variants, of_cells[:, place])
            cells.append(SegmentCell(value=value, rest=rest, arms=arms, effects=effects, moments=kept))
        interactions = tuple(
            _interaction(metric, of_cells[places[0]], of_cells[row], moments, name)
            for name, row in zip(order[1:], places[1:], strict=True)
        )
        results.append(SegmentResult(attribute=attribute, cells=tuple(cells), interactions=interactions))
    return tuple(results)


def _interaction(metric: Metric, control: Moments, treatment: Moments, found: MetricMoments, name: str) -> Interaction:
    """Whether the effects of the segments differ by more than chance."""
    effect = Pair.of(metric, control, treatment, found.covariates).effect
    known = effect.usable & (effect.se > 0)
    if np.count_nonzero(known) < 2:
        return Interaction(treatment=name, statistic=None, df=None, p_value=None)
    kept = replace(
        effect, value=effect.value[known], se=effect.se[known], df=effect.df[known], status=effect.status[known]
    )
    tested = segment_heterogeneity(kept)
    return Interaction(
        treatment=name,
        statistic=_number(tested.q),
        df=int(tested.df),
        p_value=_number(tested.p_value),
    )


def _caps(moments: MetricMoments) -> tuple[CapRecord, ...]:
    parts = ("value",) if len(moments.columns.outcome) == 1 else ("numerator", "denominator")
    records = []
    for part, column, ends in zip(parts, moments.columns.outcome, moments.caps, strict=True):
        if column.cap is None or ends is None:
            continue
        low, high = column.cap.quantiles
        taken = low is not None or high is not None
        source = "absolute" if not taken else "moving" if column.cap.moving else "history"
        records.append(
            CapRecord(
                part=part,
                lower=_finite(ends[0]),
                upper=_finite(ends[1]),
                lower_quantile=low,
                upper_quantile=high,
                source=source,
            )
        )
    return tuple(records)


def _choices(
    experiment: Experiment, found: ExperimentMoments, metric: Metric, confidence: float
) -> tuple[ChoiceEffects, ...]:
    """The effect raw, capped and adjusted, as far as these differ."""
    moments = found.metrics[metric.name]
    if moments.raw is None and not moments.covariates:
        return ()
    plain = replace(moments, covariates=())
    raw = moments.total if moments.raw is None else moments.raw

    def of(choice: str, cells: Moments, shape: MetricMoments, *, used: bool) -> ChoiceEffects:
        effects = effect_numbers(experiment, found.variants, metric, cells, shape, confidence)
        return ChoiceEffects(choice=choice, used=used, effects=effects)

    choices = [of("raw", raw, plain, used=False)]
    if moments.raw is not None:
        choices.append(of("capped", moments.total, plain, used=not moments.covariates))
    if moments.covariates:
        adjusted = of("adjusted", moments.total, moments, used=True)
        choices.append(replace(adjusted, variance_reduction=_reduction(choices[-1], adjusted)))
    return tuple(choices)


def _reduction(plain: ChoiceEffects, adjusted: ChoiceEffects) -> float | None:
    """Share of the variance of the first difference that the adjustment removes."""
    before, after = plain.effects[0].se, adjusted.effects[0].se
    if not before or after is None:
        return None
    return max(1.0 - (after / before) ** 2, 0.0)


def policy_results(
    experiment: Experiment, found: ExperimentMoments, metrics: Sequence[Metric], levels: dict[str, float]
) -> tuple[PolicyResult, ...]:
    """The result under each policy for units seen in several variants, the one in use first; none where none was."""
    others = found.assignments.others
    if not others:
        return ()

    def of(policy: str, *, used: bool) -> PolicyResult:
        units = found.assignments if used else others[policy]
        results = []
        for metric in metrics:
            moments = found.metrics[metric.name]
            cells = moments.total if used else moments.by_policy.get(policy)
            if cells is not None:
                effects = effect_numbers(experiment, found.variants, metric, cells, moments, levels[metric.name])
                results.append(PolicyMetric(metric=metric.name, effects=effects))
        return PolicyResult(policy=policy, used=used, analysed=int(units.analysed.sum()), metrics=tuple(results))

    return (of(experiment.several_variants, used=True), *(of(policy, used=False) for policy in others))


def activation_record(experiment: Experiment, found: ExperimentMoments) -> ActivationRecord | None:
    """The activation filter, with a sample-ratio check of its own."""
    wanted, before = experiment.activation, found.exposed_before
    if wanted is None or before is None:
        return None
    names = [experiment.control, *(v.name for v in experiment.variants if v.name != experiment.control)]
    check = sample_ratio_check(experiment, found.exposed)
    failed = check.p_value is not None and check.p_value < SAMPLE_RATIO_LIMIT
    return ActivationRecord(
        event=wanted.event,
        within_days=wanted.within_days,
        arms=tuple(
            ActivationArm(variant=name, exposed=before.analysed[name], activated=found.exposed.analysed[name])
            for name in names
        ),
        state="fail" if failed else check.state,
        statistic=check.statistic,
        p_value=check.p_value,
        message=check.message,
    )


def _finite(end: float) -> float | None:
    return end if math.isfinite(end) else None


def _number(value: object) -> float | None:
    number = float(value)  # type: ignore[arg-type]  # a numpy number
    return number if math.isfinite(number) else None
