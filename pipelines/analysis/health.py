"""Whether the data can be trusted, before anybody looks at an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from pipelines.analysis.arrivals import arrivals_check, freshness_check, imbalance_check, units_check
from pipelines.analysis.assignments import Exposed
from pipelines.analysis.experiment_moments import ExperimentMoments
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.metrics import Metric
from pipelines.formatting import count, exact_p_value, percent, short_percent
from pipelines.store.snapshot import HealthCheck
from stats.sample_ratio import sample_ratio_test
from stats.status import Status

# p below 0.001 is the field's convention for a sample ratio mismatch: Fabijan et al. (2019), KDD, section 4.
SAMPLE_RATIO_LIMIT = 0.001
SEVERAL_VARIANTS_WARN, SEVERAL_VARIANTS_FAIL = 0.001, 0.01


def health_checks(
    experiment: Experiment, found: ExperimentMoments, metrics: Sequence[Metric], *, now: datetime
) -> tuple[HealthCheck, ...]:
    """All checks of one look, in the order in which they are shown; what given moments cannot tell is not checked."""
    exposed = found.exposed
    missing = {metric.title: max(found.metrics[metric.name].missing.values(), default=0) for metric in metrics}
    running = experiment.phase(now) == "running"
    further = (
        several_variants_check(exposed) if exposed.all_told else None,
        exposures_check(experiment, exposed, now=now),
        None if experiment.data == "moments" else values_check(missing),
        units_check(experiment, found, now=now),
        freshness_check(experiment, found, now=now) if running else None,
        arrivals_check(experiment, found) if running else None,
        imbalance_check(experiment, found),
    )
    return (
        sample_ratio_check(experiment, exposed),
        *(check for check in further if check is not None),
    )


def sample_ratio_check(experiment: Experiment, exposed: Exposed) -> HealthCheck:
    """Chi-square test of the analysed units against the planned shares; a failure blocks."""
    names = [variant.name for variant in experiment.variants]
    shares = [variant.share for variant in experiment.variants]
    counts = [exposed.analysed[name] for name in names]
    result = sample_ratio_test(counts, shares)
    total = sum(counts)
    if not total:
        return _check("sample_ratio", "pass", "No units in the analysis yet: the split cannot be checked.")
    if result.status not in (Status.OK, Status.IMPOSSIBLE_ARM):
        return _check("sample_ratio", "pass", "One variant alone was planned to get units: there is no split to check.")
    p_value, log_p = float(result.p_value), float(result.log_p)
    found = ", ".join(f"{name} {percent(n / total)}" for name, n in zip(names, counts, strict=True))
    planned = ", ".join(f"{name} {short_percent(share)}" for name, share in zip(names, shares, strict=True))
    statistic = float(result.statistic) if np.isfinite(result.statistic) else None
    if p_value >= SAMPLE_RATIO_LIMIT:
        message = f"{_units(total)} split as planned: {found} (planned {planned}; {_p(p_value, log_p)})."
        return _check("sample_ratio", "pass", message, statistic=statistic, p_value=p_value)
    never = [name for name, share, n in zip(names, shares, counts, strict=True) if share == 0 and n > 0]
    chance = (
        f"{', '.join(never)} was planned to get no units."
        if never
        else f"Chance alone hardly ever does this ({_p(p_value, log_p)})."
    )
    message = (
        f"{_units(total)} split {found}, but {planned} was planned. {chance} Some units are assigned, lost or logged "
        "differently per variant, so the variants no longer compare like with like: do not read the effects. "
        "Check the assignment, redirects, crashes and bot filters, and the logging of exposures."
    )
    return _check("sample_ratio", "fail", message, blocks=True, statistic=statistic, p_value=p_value)


def several_variants_check(exposed: Exposed) -> HealthCheck:
    """Share of units that were seen in several variants; above 1 % the result is blocked."""
    several = exposed.excluded.get("several_variants", 0)
    total = several + sum(exposed.analysed.values())
    if not several:
        return _check("several_variants", "pass", "Every unit saw one variant only.")
    share = several / total
    found = f"{_units(several)} of {count(total)} ({percent(share)}) saw several variants and are left out."
    if share <= SEVERAL_VARIANTS_WARN:
        return _check("several_variants", "pass", found)
    advice = "Check that the assignment sticks to a unit across visits, devices and deployments."
    if share <= SEVERAL_VARIANTS_FAIL:
        return _check("several_variants", "warn", f"{found} {advice}")
    limit = short_percent(SEVERAL_VARIANTS_FAIL)
    message = f"{found} That is more than {limit}: who stays in the analysis is no longer random. {advice}"
    return _check("several_variants", "fail", message, blocks=True)


def exposures_check(experiment: Experiment, exposed: Exposed, *, now: datetime) -> HealthCheck:
    """Whether exposures arrived at all, in defined variants, at plausible times."""
    analysed = sum(exposed.analysed.values())
    if exposed.unknown:
        units = sum(exposed.by_variant[name] for name in exposed.unknown)
        message = (
            f"{_units(units)} saw {', '.join(exposed.unknown)}, which the experiment does not define: they are left "
            "out, and the variants may not be what they seem. Correct the variants of the definition or the log."
        )
        return _check("exposures", "fail", message, blocks=True)
    if not exposed.total:
        if experiment.phase(now) == "planned":
            return _check("exposures", "pass", "It has not started, and no exposures have arrived.")
        message = (
            f"No exposure to {experiment.name} has been ingested. Check the name in the exposure log, and that "
            "the log was ingested with `rampwise ingest exposures`."
        )
        return _check("exposures", "fail", message, blocks=True)
    left_out = exposed.total - analysed
    found = f"{_units(exposed.total)} exposed: {count(analysed)} analysed, {count(left_out)} left out."
    if not exposed.all_told:
        found = (
            f"{_units(analysed)} analysed. The moments do not tell how many exposed units were left out or saw several "
            "variants: that takes the rows `units:...` of `rampwise moments sql`."
        )
    future = exposed.excluded.get("in_the_future", 0)
    if future:
        message = f"{found} {_units(future)} have their first exposure after this analysis: check the log's clock."
        return _check("exposures", "warn", message)
    empty = [
        variant.name for variant in experiment.variants if variant.share > 0 and not exposed.analysed[variant.name]
    ]
    if empty and experiment.phase(now) != "planned":
        message = f"{found} No unit of {', '.join(empty)} is in the analysis: check the variants and dates."
        return _check("exposures", "fail", message, blocks=True)
    outside = exposed.excluded.get("before_start", 0) + exposed.excluded.get("after_end", 0)
    if outside > analysed:
        message = f"{found} Most first exposures lie outside the experiment's dates: check start and end."
        return _check("exposures", "warn", message)
    return _check("exposures", "pass", found)


def values_check(missing: Mapping[str, int]) -> HealthCheck:
    """Events without a value whose values are added up, per metric: each counts as 0, which is seldom meant."""
    lines = [f"{title}: {count(events)}" for title, events in missing.items() if events]
    if not lines:
        return _check("values", "pass", "Every event that is added up has a value.")
    message = f"Events without a value count as 0 ({'; '.join(lines)}). Check the column `value` of the event log."
    return _check("values", "warn", message)


def _check(
    name: str,
    state: str,
    message: str,
    *,
    blocks: bool = False,
    statistic: float | None = None,
    p_value: float | None = None,
) -> HealthCheck:
    return HealthCheck(name=name, state=state, blocks=blocks, statistic=statistic, p_value=p_value, message=message)


def _units(n: int) -> str:
    return f"{count(n)} unit" + ("" if n == 1 else "s")


def _p(p_value: float, log_p: float) -> str:
    text = exact_p_value(p_value, log_p)
    return f"p {text}" if text[0] in "<>" else f"p = {text}"
