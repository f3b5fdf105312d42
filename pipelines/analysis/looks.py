"""One look at experiments: from the warehouse to snapshots."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pipelines.analysis.assignments import Exposed
from pipelines.analysis.breakdowns import activation_record, policy_results, with_breakdowns
from pipelines.analysis.comparisons import metric_result
from pipelines.analysis.decisions import decision_record, taken_looks, withheld_reason
from pipelines.analysis.experiment_moments import ExperimentMoments
from pipelines.analysis.frozen import PlanInForce, plan_in_force, plan_record
from pipelines.analysis.given_moments import read_given_moments
from pipelines.analysis.health import health_checks
from pipelines.analysis.history_caps import ends_by_column, history_ends
from pipelines.analysis.identity import identity_record
from pipelines.analysis.memory import with_earlier_findings
from pipelines.analysis.method import method_record
from pipelines.analysis.questions import questions
from pipelines.analysis.reading import read_moments
from pipelines.analysis.sequential import Look, this_look
from pipelines.analysis.series import with_series
from pipelines.analysis.stored_moments import moments_record
from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions, definition_hash
from pipelines.definitions.metrics import Metric
from pipelines.engine.warehouse import Warehouse
from pipelines.store.breakdowns import PolicyResult
from pipelines.store.looks import PlanProgress
from pipelines.store.snapshot import SCHEMA_VERSION, Arm, Exclusion, HealthCheck, MetricResult, Snapshot, to_json

LIBRARIES = ("rampwise", "duckdb", "ibis-framework", "numpy", "scipy")


def analyse(
    warehouse: Warehouse,
    definitions: Definitions,
    names: Sequence[str] | None,
    *,
    now: datetime,
    as_of: datetime | None = None,
    previous: Mapping[str, Snapshot] | None = None,
    partials: Path | None = None,
) -> tuple[Snapshot, ...]:
    """Analyse experiments as their definitions say; one snapshot each, in order.

    Parameters
    ----------
    warehouse
        An open warehouse; reading is enough.
    names
        Experiments; ``None`` for all that have started.
    now
        The moment of the look (aware). Exposures and events at or after it do not count.
    as_of
        Only what had been ingested by then counts (aware); None: everything.
    previous
        The latest snapshot of each experiment: it holds the frozen plan and the looks of a sequential design, which
        every look adds to.
    partials
        Folder in which numbers per unit and day are kept between looks, so that only units that changed are read again;
        None: everything is read from the events. The snapshot is the same.

    Raises
    ------
    UnknownNameError
        If a name is not defined.

    Notes
    -----
    The same events and definitions give the same numbers to the last bit, whatever the number of threads, the order
    of ingestion and the files the events came in.
    """
    if names is None:
        chosen = [each for _, each in sorted(definitions.experiments.items()) if each.phase(now) != "planned"]
    else:
        chosen = [definitions.experiment(name) for name in names]
    known = previous or {}
    return tuple(
        _look(
            warehouse,
            definitions,
            experiment,
            known.get(experiment.name),
            now=now.astimezone(UTC),
            as_of=as_of,
            partials=None if partials is None else partials / f"{experiment.name}.npz",
        )
        for experiment in chosen
    )


def _look(
    warehouse: Warehouse,
    definitions: Definitions,
    written: Experiment,
    previous: Snapshot | None,
    *,
    now: datetime,
    as_of: datetime | None,
    partials: Path | None,
) -> Snapshot:
    force = _in_force(warehouse, definitions, written, previous, now=now, as_of=as_of)
    experiment = force.experiment
    hashes = _hashes(written, [definitions.metrics[name] for name in written.metric_names])
    metrics = [definitions.metrics[name] for name in experiment.metric_names]
    identity = identity_record(warehouse, experiment, until=now, as_of=as_of)
    found = _moments(warehouse, definitions, force, metrics, now=now, as_of=as_of, partials=partials)
    exposed = found.exposed
    health = health_checks(experiment, found, metrics, now=now)
    look = this_look(
        force,
        previous,
        hashes,
        now=now,
        units=sum(exposed.analysed.values()),
        blocked=any(check.blocks for check in health),
    )
    results = _results(look, metrics, found, health)
    snapshot = Snapshot(
        schema_version=SCHEMA_VERSION,
        snapshot_id="",
        experiment=experiment.name,
        title=experiment.screen_title,
        hypothesis=experiment.hypothesis,
        owner=experiment.owner,
        unit=experiment.unit,
        control=experiment.control,
        start=experiment.start.astimezone(UTC),
        end=experiment.end.astimezone(UTC),
        analysed_at=now,
        data_until=_data_until(found),
        phase=experiment.phase(now),
        progress=min(max((now - experiment.start) / (experiment.end - experiment.start), 0.0), 1.0),
        plan=plan_record(force.plan),
        exposed=exposed.total,
        arms=_arms(experiment, exposed),
        exclusions=tuple(Exclusion(reason=reason, units=units) for reason, units in exposed.excluded.items()),
        health=health,
        decision=decision_record(experiment, results, health, now=now, look=look if look.sequential else None),
        metrics=results,
        definition_hashes=hashes,
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        frozen_plan=force.frozen,
        deviations=force.deviations,
        plan_progress=_progress(look, results),
        sensitivity=_sensitivity(look, found, metrics),
        activation=activation_record(experiment, found),
        identity=identity,
        method=replace(method_record(warehouse, found, as_of=as_of), source=experiment.data),
    )
    return replace(snapshot, snapshot_id=_identity(snapshot))


def _moments(
    warehouse: Warehouse,
    definitions: Definitions,
    force: PlanInForce,
    metrics: Sequence[Metric],
    *,
    now: datetime,
    as_of: datetime | None,
    partials: Path | None,
) -> ExperimentMoments:
    """From events, or as another warehouse aggregated them."""
    if force.experiment.data == "moments":
        return read_given_moments(warehouse, force.experiment, metrics, until=now, as_of=as_of)
    ends, known = ends_by_column(force.caps), definitions.metrics
    return read_moments(
        warehouse, force.experiment, metrics, until=now, as_of=as_of, known=known, caps=ends, partials=partials
    )


def _in_force(
    warehouse: Warehouse,
    definitions: Definitions,
    written: Experiment,
    previous: Snapshot | None,
    *,
    now: datetime,
    as_of: datetime | None,
) -> PlanInForce:
    """The plan this look is judged by; the first look after the start freezes the ends of caps with it."""
    metrics = [definitions.metrics[name] for name in written.metric_names]
    return plan_in_force(
        written,
        definitions.metrics,
        previous,
        now=now,
        ends=lambda: history_ends(warehouse, written, metrics, as_of=as_of),
    )


def _results(
    look: Look, metrics: Sequence[Metric], found: ExperimentMoments, health: Sequence[HealthCheck]
) -> tuple[MetricResult, ...]:
    """Every metric, with its effect day by day."""
    experiment = look.force.experiment
    withheld = withheld_reason(experiment, health, now=look.at, sequential=look.sequential)
    asked = questions(experiment)
    results: list[MetricResult] = []
    for metric in metrics:
        moments = {variant: found.of(metric.name, variant) for variant in found.variants}
        result = metric_result(
            experiment,
            metric,
            asked[metric.name],
            moments,
            withheld=withheld,
            look=look if look.sequential else None,
            covariates=found.metrics[metric.name].covariates,
        )
        result = with_series(look, found, metric, with_earlier_findings(look, result))
        if look.taken or not look.sequential:  # between looks other numbers would be a look the plan does not have
            result = with_breakdowns(experiment, found, metric, result, confidence=asked[metric.name].confidence)
        elif not any(each.looks for each in result.comparisons):  # no look: the numbers are those of now
            order = [arm.variant for arm in result.arms]
            result = replace(result, moments=moments_record(order, found.variants, found.metrics[metric.name]))
        results.append(result)
    return tuple(results)


def _sensitivity(look: Look, found: ExperimentMoments, metrics: Sequence[Metric]) -> tuple[PolicyResult, ...]:
    """What the other policies for units seen in several variants would give, where there are numbers to compare."""
    if look.sequential and not look.taken:
        return ()
    experiment = look.force.experiment
    levels = {name: asked.confidence for name, asked in questions(experiment).items()}
    return policy_results(experiment, found, metrics, levels)


def _progress(look: Look, results: Sequence[MetricResult]) -> PlanProgress | None:
    """Progress against the plan, once there is one."""
    plan = look.force.plan
    planned = plan.end if plan.units is None else plan.units
    if look.force.frozen is None or planned is None:
        return None
    in_units = plan.units is not None
    return PlanProgress(
        measure="units" if in_units else "days",
        reached=float(look.units) if in_units else max(look.day, 0.0),
        planned=planned,
        fraction=min(max((look.units if in_units else look.day) / planned, 0.0), 1.0),
        looks_taken=taken_looks(results) if look.sequential else 0,
        next_look=look.next_look if look.sequential else None,
    )


def _arms(experiment: Experiment, exposed: Exposed) -> tuple[Arm, ...]:
    """Control first, then the treatments in the order of the definition."""
    ordered = sorted(experiment.variants, key=lambda variant: variant.name != experiment.control)
    return tuple(
        Arm(
            variant=variant.name,
            is_control=variant.name == experiment.control,
            planned_share=variant.share,
            exposed=exposed.by_variant.get(variant.name, 0),
            analysed=exposed.analysed[variant.name],
        )
        for variant in ordered
    )


def _data_until(found: ExperimentMoments) -> datetime | None:
    return max((moment for moment in (found.exposed.latest, found.latest) if moment is not None), default=None)


def _hashes(experiment: Experiment, metrics: Sequence[Metric]) -> dict[str, str]:
    return {
        "experiment": definition_hash(experiment),
        "plan": definition_hash(experiment.plan),
        **{f"metric:{metric.name}": definition_hash(metric) for metric in metrics},
    }


def _identity(snapshot: Snapshot) -> str:
    """Experiment, time of the look, and ten digits of the content's SHA-256: the same look has the same id."""
    digest = hashlib.sha256(to_json(snapshot).encode()).hexdigest()[:10]
    return f"{snapshot.experiment}-{snapshot.analysed_at:%Y%m%dT%H%M%S%fZ}-{digest}"
