"""One metric of an experiment: values per variant, and each treatment against control."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.analysis.columns import RATES
from pipelines.analysis.pairs import Pair, outcome_column
from pipelines.analysis.questions import Question
from pipelines.analysis.sentences import first_look_reason, given_up_reason, verdict_reason
from pipelines.analysis.sequential import Look, look_comparison, not_judged
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from pipelines.store.snapshot import ArmValue, Comparison, MetricResult
from stats.effect import infer
from stats.moments import Moments
from stats.proportion_effect import ProportionMethod
from stats.proportions import score_test
from stats.ratios import Column, linearise
from stats.small_cells import compare_small_cells, relative_margin_score
from stats.status import FloatArray, Status
from stats.verdicts import Verdict, guardrail_verdict, success_verdict

VALIDITY = "fixed"
_NO_INTERVAL = (math.nan, math.nan)


def metric_result(
    experiment: Experiment,
    metric: Metric,
    question: Question,
    moments: Mapping[str, Moments],
    *,
    withheld: str | None,
    look: Look | None = None,
    covariates: Sequence[Column] = (),
) -> MetricResult:
    """Everything about one metric.

    Parameters
    ----------
    moments
        Moments of every variant: one column, or numerator and denominator of a ratio; then the covariates.
    withheld
        Why there are no verdicts yet; none: they are given.
    look
        What a sequential design makes of this analysis; none for a fixed design.
    covariates
        Their columns in the Moments: the effects are adjusted for them, the values of the arms are not.
    """
    if metric.minimum_effect is not None:
        question = replace(question, minimum_effect=metric.minimum_effect, relative=metric.relative)
    treatments = [variant.name for variant in experiment.treatments]
    result = MetricResult(
        metric=metric.name,
        label=metric.title,
        description=metric.description,
        role=question.role,
        kind=metric.kind,
        better=metric.better,
        unit_label=metric.unit_label,
        margin=question.margin,
        minimum_effect=metric.minimum_effect,
        minimum_relative=metric.relative if metric.minimum_effect is not None else True,
        window_days=metric.window_days,
        arms=tuple(
            _arm_value(name, linearise(moments[name], outcome_column(metric)))
            for name in (experiment.control, *treatments)
        ),
        comparisons=(),
    )
    before = None if look is None or look.taken else look.earlier.get(metric.name)
    if look is not None and before is not None and _has_looks(before, question, treatments):
        return _carried(before, question, withheld=withheld, binding=look.force.plan.binding)
    comparisons = []
    for name in treatments:
        pair = Pair.of(metric, moments[experiment.control], moments[name], covariates)
        if look is not None and look.taken:
            comparisons.append(_at_look(look, metric, question, result, pair, name))
            continue
        numbers = _compared(metric, question, pair, name)
        if look is not None:
            numbers = replace(not_judged(look, numbers), reason=withheld or first_look_reason(look.next_look))
            comparisons.append(numbers)
        elif withheld is None:
            comparisons.append(_with_verdict(metric, question, result, numbers))
        else:
            comparisons.append(replace(numbers, reason=withheld))
    return replace(result, comparisons=tuple(comparisons))


def _at_look(
    look: Look,
    metric: Metric,
    question: Question,
    result: MetricResult,
    pair: Pair,
    name: str,
) -> Comparison:
    """A comparison at a look of a sequential design, with the looks so far."""

    def compare(confidence: float) -> Comparison:
        return _compared(metric, replace(question, confidence=confidence), pair, name)

    numbers, record, unjudged = look_comparison(
        look,
        (metric.name, question.role, name),
        pair.control,
        pair.effect,
        compare,
        margin=question.margin,
    )
    before = look.looks(metric.name, name)
    given = replace(numbers, reason=unjudged)
    numbers = given if unjudged else _with_verdict(metric, question, result, numbers)
    if record is None:
        return replace(numbers, looks=before)
    if record.given_up:
        plan = look.force.plan
        said = given_up_reason(question.minimum_effect, result, relative=question.relative, binding=plan.binding)
        numbers = replace(numbers, reason=numbers.reason + said)
    return replace(numbers, looks=(*before, replace(record, verdict=numbers.verdict)))


def _has_looks(result: MetricResult, question: Question, treatments: list[str]) -> bool:
    """Whether an earlier result answers the same question for the same treatments, from a look."""
    same = result.role == question.role and [each.treatment for each in result.comparisons] == treatments
    return same and any(each.looks for each in result.comparisons)


def _carried(before: MetricResult, question: Question, *, withheld: str | None, binding: bool) -> MetricResult:
    """Between looks the numbers of the look before stand: others would be a look that the plan does not have."""
    comparisons = []
    for each in before.comparisons:
        last = each.looks[-1] if each.looks else None
        verdict, reason = None if last is None else last.verdict, each.reason
        if verdict is not None:
            reason = verdict_reason(
                Verdict(verdict),
                before,
                each,
                minimum_effect=question.minimum_effect,
                relative=question.relative,
            )
            if last is not None and last.given_up:
                reason += given_up_reason(question.minimum_effect, before, relative=question.relative, binding=binding)
        comparisons.append(
            replace(
                each,
                verdict=None if withheld else verdict,
                reason=withheld or reason,
                looked_at=each.looked_at if last is None else last.at,
            )
        )
    return replace(before, comparisons=tuple(comparisons))


def _compared(metric: Metric, question: Question, pair: Pair, name: str) -> Comparison:
    """Numbers of a comparison at the coverage that is asked for, by the method its cells allow."""
    numbers = _comparison(metric, question, pair, name)
    if isinstance(metric, RATES):
        return _without_small_cells(metric, question, pair, numbers)
    return numbers


def _with_verdict(metric: Metric, question: Question, result: MetricResult, numbers: Comparison) -> Comparison:
    verdict = _verdict(metric, question, numbers)
    reason = verdict_reason(
        verdict, result, numbers, minimum_effect=question.minimum_effect, relative=question.relative
    )
    return replace(numbers, verdict=verdict.value, reason=reason)


def _arm_value(name: str, moments: Moments) -> ArmValue:
    unusable = moments.status >= Status.INSUFFICIENT_DATA
    return ArmValue(
        variant=name,
        n=int(moments.n),
        mean=None if unusable else _number(moments.mean[..., 0]),
        variance=None if unusable else _number(moments.variance()),
        status=_label(moments.status),
    )


def _comparison(metric: Metric, question: Question, pair: Pair, name: str) -> Comparison:
    effect = pair.effect
    result = infer(effect, confidence=question.confidence)
    lift = pair.lift(question.confidence)
    shown = lift.status <= Status.UNBOUNDED
    score = score_test(pair.control, pair.treatment) if isinstance(metric, RATES) else None
    stated = effect.status <= Status.ZERO_VARIANCE
    return Comparison(
        treatment=name,
        difference=_number(effect.value) if stated else None,
        se=_number(effect.se) if stated else None,
        df=_number(result.df),
        statistic=_number(result.statistic),
        low=_number(result.low),
        high=_number(result.high),
        p_value=_number(result.p_value),
        log_p=_number(result.log_p),
        score_p_value=None if score is None else _number(score.p_value),
        margin_p_value=_margin_p_value(metric, question, pair),
        confidence=question.confidence,
        lift=_number(lift.value) if shown else None,
        lift_low=_number(lift.low) if shown else None,
        lift_high=_number(lift.high) if shown else None,
        lift_status=_label(lift.status),
        validity=VALIDITY,
        status=_label(effect.status),
        verdict=None,
        reason="",
    )


def _without_small_cells(metric: Metric, question: Question, pair: Pair, numbers: Comparison) -> Comparison:
    """The same comparison, by score intervals and the exact test where the normal approximation cannot be trusted.

    The estimate of the lift keeps its rule (none where the control's rate is too uncertain); its interval needs none.
    """
    control, treatment = pair.control, pair.treatment
    found = compare_small_cells(control, treatment, confidence=question.confidence)
    method = ProportionMethod(int(found.method))
    if method is ProportionMethod.WELCH:
        return numbers
    difference, margin_p_value = found.difference, None
    lift = _number(found.lift.value) if numbers.lift_status != Status.UNDEFINED_RELATIVE.label else None
    if question.margin is not None:
        at_margin = relative_margin_score(control, treatment, question.margin, better=metric.better)
        margin_p_value = _number(at_margin.p_value)
    exact = replace(
        numbers,
        method=method.name.lower(),
        status=_label(difference.status),
        difference=_number(difference.value),
        se=numbers.se or None,
        df=None,
        statistic=_number(difference.statistic),
        low=_number(difference.low),
        high=_number(difference.high),
        p_value=_number(difference.p_value),
        log_p=_number(difference.log_p),
        margin_p_value=margin_p_value,
        lift=lift,
        lift_low=_number(found.lift.low),
        lift_high=_number(found.lift.high),
        lift_status=_label(Status.UNDEFINED_RELATIVE if lift is None else found.lift.status),
    )
    rates = {float(control.mean[..., 0]), float(treatment.mean[..., 0])}
    if rates in ({0.0}, {1.0}):
        # Nobody, or everybody: there is an interval, but nothing a test of no difference could speak on.
        exact = replace(exact, status=Status.ZERO_VARIANCE.label, statistic=None, p_value=None, log_p=None)
    return replace(exact, lift_low=None, lift_high=None, margin_p_value=None) if rates == {0.0} else exact


def _margin_p_value(metric: Metric, question: Question, pair: Pair) -> float | None:
    """One-sided p-value of "as bad as the margin or worse"; it is what the lift's interval inverts."""
    if question.margin is None:
        return None
    effect = pair.beyond(question.margin, better=metric.better)
    alternative = "greater" if metric.better == "higher" else "less"
    return _number(infer(effect, alternative=alternative).p_value)


def _verdict(metric: Metric, question: Question, numbers: Comparison) -> Verdict:
    """The verdict, from the interval that is shown."""
    if numbers.status == Status.ZERO_VARIANCE.label and numbers.lift_interval is None:
        return Verdict.NOT_ENOUGH_DATA
    lift_low, lift_high = numbers.lift_interval or _NO_INTERVAL
    if question.margin is not None:
        return guardrail_verdict(lift_low, lift_high, margin=question.margin, better=metric.better)
    difference = numbers.difference_interval or _NO_INTERVAL
    matters = (lift_low, lift_high) if question.relative else difference
    return success_verdict(
        *difference,
        better=metric.better,
        lift_low=matters[0],
        lift_high=matters[1],
        minimum_effect=question.minimum_effect,
    )


def _number(value: FloatArray) -> float | None:
    """A finite number, or ``None``: the status says why."""
    number = float(value)
    return number if math.isfinite(number) else None


def _label(status: object) -> str:
    return Status(int(status)).label  # type: ignore[call-overload]  # a numpy integer
