"""What the calculator's fields start with: an experiment's latest look, or its events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from app.views.defined import definitions_of
from app.views.snapshots import Looks
from pipelines import formatting
from pipelines.engine.warehouse import open_warehouse
from pipelines.errors import PipelineError
from pipelines.planning.history import History, read_history
from pipelines.planning.past_looks import entered_by, measured_baseline
from pipelines.store.snapshot import Snapshot

# What a choice is called on screen is what stands in the address.
PROPORTION, MEAN, RATIO = "Conversion rate", "Mean", "Ratio"
IMPROVE, PROTECT = "Find a change", "Show no harm"
RELATIVE, ABSOLUTE = "Percent of control", "Absolute"
BETTER = {"Higher is better": "higher", "Lower is better": "lower"}
DESIGNS = {
    "Once, at the end (fixed)": "fixed",
    "Up to a planned end (group-sequential)": "group_sequential",
    "At any time (always valid)": "always_valid",
    "Whichever fits, and why (auto)": "auto",
}
GIVING_UP = {
    "Never": None,
    "Hardly early on (O'Brien-Fleming type)": "lan_demets_obrien_fleming",
    "Evenly (Pocock type)": "lan_demets_pocock",
}
BINDING = {"Advice": False, "Binding": True}
KINDS = {"proportion": PROPORTION, "mean": MEAN, "count": MEAN, "ratio": RATIO}
# The page waits this long for the warehouse, no longer: people look at it.
WAIT_SECONDS = 2.0
Values: TypeAlias = dict[str, str | float]


def metrics_of(snapshot: Snapshot) -> tuple[str, ...]:
    """Names of the metrics whose control has a mean and a spread, the deciding ones first."""
    return tuple(each.metric for each in snapshot.metrics if measured_baseline(each, snapshot.control) is not None)


def from_snapshot(snapshot: Snapshot, metric: str) -> Values:
    """Fields, by key, as this look measured the metric and as the experiment was planned; empty without a mean."""
    result = next((each for each in snapshot.metrics if each.metric == metric), None)
    known = None if result is None else measured_baseline(result, snapshot.control)
    if result is None or known is None:
        return {}
    protect = result.role == "guardrail" and result.margin is not None
    effect = result.margin if protect and result.margin is not None else snapshot.plan.minimum_effect
    toward = -1.0 if result.better == "lower" and not protect else 1.0
    roles = [each.role for each in snapshot.metrics]
    values: Values = {
        "kind": KINDS[result.kind],
        "goal": PROTECT if protect else IMPROVE,
        "better": next(label for label, better in BETTER.items() if better == result.better),
        "scale": RELATIVE,
        "effect": _tidy(toward * effect * 100),
        "treatments": float(len(snapshot.arms) - 1),
        "control_share": _share(snapshot),
        "alpha": _tidy(snapshot.plan.alpha * 100),
        "power": _tidy(snapshot.plan.power * 100),
        "success_metrics": float(max(roles.count("success"), 1)),
        "guardrails": 0.0 if protect else float(roles.count("guardrail")),
        "correlation": 0.0,
        **_level(result.kind, known.mean, known.sd),
    }
    values |= _design(snapshot)
    days, units = entered_by(snapshot)
    if days > 0 and units > 0:
        values["daily"] = f"{max(round(units / days), 1)}"
    return values


def measured(looks: Looks) -> dict[str, Snapshot]:
    """The most recent look that has measured a metric and can be trusted, by metric."""
    found: dict[str, Snapshot] = {}
    for snapshot in sorted(looks.snapshots.values(), key=lambda each: each.analysed_at):
        found |= dict.fromkeys(() if snapshot.blocked else metrics_of(snapshot), snapshot)
    return dict(sorted(found.items()))


def from_metric(looks: Looks, metric: str) -> Values:
    """What is known about a metric alone, by field: its kind, direction and level; empty where nothing is."""
    snapshot = measured(looks).get(metric)
    known = {} if snapshot is None else from_snapshot(snapshot, metric)
    return {key: value for key, value in known.items() if key in ("kind", "better", "baseline", "mean", "sd")}


def from_warehouse(looks: Looks, experiment: str, metric: str) -> tuple[History, Values]:
    """The metric's history in that experiment's events, and the fields it fills.

    The correlation is told, not filled in: it helps only where the analysis adjusts for it.

    Raises
    ------
    PipelineError
        If the warehouse is busy or missing, or says too little.
    """
    path = looks.workspace.warehouse_path
    if not path.exists():
        raise PipelineError("There is no warehouse in this workspace: load events with `rampwise ingest` first.")
    definitions = definitions_of(looks.workspace.root)
    with open_warehouse(path, read_only=True, wait_seconds=WAIT_SECONDS) as warehouse:
        history = read_history(warehouse, definitions, experiment=experiment, metric=metric, now=datetime.now(UTC))
    baseline = history.baseline
    return history, {
        "daily": ", ".join(str(units) for units in history.daily),
        **_level(history.kind, baseline.mean, baseline.sd),
    }


def _design(snapshot: Snapshot) -> Values:
    """How the experiment's results are read: its design, end, looks and reserve as they were planned."""
    plan, frozen = snapshot.plan, snapshot.frozen_plan
    values: Values = {"design": next(label for label, design in DESIGNS.items() if design == plan.design)}
    start, end = (snapshot.start, snapshot.end) if frozen is None else (frozen.start, frozen.end)
    written = {} if frozen is None else frozen.plan
    if end < formatting.OPEN_END:
        values["end"] = _tidy((end - start) / timedelta(days=1))
    if plan.design != "fixed":
        values["looks"] = ", ".join(f"{day:.6g}" for day in written.get("looks", ()))
    if written.get("reserve") is not None:
        values["reserve"] = _tidy(100 * float(written["reserve"]))
    giving_up = next((label for label, family in GIVING_UP.items() if family == plan.futility), None)
    if plan.futility is not None and giving_up is not None:
        values["futility"] = giving_up
        values["binding"] = next(label for label, binds in BINDING.items() if binds == plan.binding)
    return values


def _level(kind: str, mean: float, sd: float) -> Values:
    if kind == "proportion":
        return {"baseline": _tidy(mean * 100)}
    return {"mean": _tidy(mean), "sd": _tidy(sd)}


def _share(snapshot: Snapshot) -> str:
    """The planned shares as the field has them: empty where all arms are equal, all where treatments differ."""
    shares = [arm.planned_share * 100 for arm in snapshot.arms]
    if max(shares) - min(shares) < 1e-6:
        return ""
    even = max(shares[1:]) - min(shares[1:]) < 1e-6
    return f"{shares[0]:.10g}" if even else ", ".join(f"{share:.10g}" for share in shares)


def _tidy(value: float) -> float:
    """A number as the field shows it, so that the address and the field say the same."""
    return float(f"{value:.6g}")
