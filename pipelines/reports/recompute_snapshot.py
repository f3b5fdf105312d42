"""Everything in a snapshot that can be computed again: comparisons, looks, choices, other baselines, segments.

An exported notebook shows and runs this file as it is, after `recompute_looks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipelines.reports.recompute import (
    Arms,
    Found,
    Json,
    arms_from_means,
    arms_of,
    comparison_numbers,
    differences,
    effect_numbers,
    verdict_of,
)
from pipelines.reports.recompute_looks import at_a_look, bounds_again, is_last_look, look_again, why_looks_quoted
from stats.effect import Effect
from stats.heterogeneity import segment_heterogeneity
from stats.plan_looks import PlannedLooks
from stats.status import Status

ESTIMABLE = frozenset({"ok", "unbounded", "undefined_relative"})
_BEFORE = "it was stored before its Moments were kept"
QUANTILE = "each variant's quantile and its standard error, which need the value of every unit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One place of a snapshot, computed again.

    Attributes
    ----------
    kind
        ``"comparison"``, ``"look"``, ``"choice"``, ``"baseline"``, ``"segment"``, ``"interaction"`` or ``"policy"``.
    names
        Metric, treatment, and what else says where it stands.
    withheld
        Whether the snapshot's page withholds it: then its numbers are not here.
    why_quoted
        Why all of it is quoted and not recomputed; empty where it is recomputed.
    also_quoted
        What of it is quoted all the same.
    found, stored
        The numbers by name, recomputed and as they are stored.
    wrong
        Names of numbers that differ by more than 1e-9 of their size.
    """

    kind: str
    names: tuple[str, ...]
    withheld: bool = False
    why_quoted: str = ""
    also_quoted: str = ""
    found: Found = field(default_factory=dict)
    stored: Json = field(default_factory=dict)

    @property
    def recomputed(self) -> bool:
        """Whether numbers were computed again."""
        return bool(self.found)

    @property
    def wrong(self) -> list[str]:
        """Names of recomputed numbers that are not the stored ones."""
        return differences(self.found, self.stored)


def checks(snapshot: Json) -> Iterator[Check]:
    """Every place, metric by metric."""
    for metric in snapshot["metrics"]:
        for comparison in metric["comparisons"]:
            yield from comparison_checks(snapshot, metric, comparison)
        for choice in metric["choices"]:
            yield from _choice(snapshot, metric, choice)
        for baseline in metric["baselines"]:
            yield from _baseline(metric, baseline)
        for segment in metric["segments"]:
            yield from _segment(snapshot, metric, segment)
    for policy in snapshot["sensitivity"]:
        if not policy["used"]:
            yield Check(
                kind="policy",
                names=(policy["policy"],),
                why_quoted="another policy for units seen in several variants has other units: rebuild it from events",
            )


def comparison_checks(snapshot: Json, metric: Json, comparison: Json) -> Iterator[Check]:
    """A treatment against control, by the method that the snapshot names, and its looks."""
    names = (metric["metric"], comparison["treatment"])
    if is_withheld(snapshot, comparison):
        yield Check(kind="comparison", names=names, withheld=True)
        return
    bounds = bounds_again(snapshot, metric, comparison) if snapshot["plan"]["decided"] and comparison["looks"] else {}
    quoted = why_quoted(snapshot, metric, comparison)
    if quoted:
        yield Check(kind="comparison", names=names, why_quoted=quoted, stored=comparison)
    else:
        found = _comparison(snapshot, metric, comparison, bounds)
        also = QUANTILE if metric["kind"] == "quantile" else ""
        yield Check(kind="comparison", names=names, found=found, stored=comparison, also_quoted=also)
    yield from _looks(snapshot, metric, comparison, bounds)


def _comparison(snapshot: Json, metric: Json, comparison: Json, bounds: Mapping[bool, PlannedLooks]) -> Found:
    arms = _arms(snapshot, metric, comparison)
    if comparison["validity"] == "fixed":
        found = comparison_numbers(metric, arms, comparison["confidence"])
    else:
        found = at_a_look(snapshot, metric, comparison, arms, bounds)
    if comparison["verdict"] is not None:
        found["verdict"] = verdict_of(metric, snapshot["plan"], found)
    return found


def why_quoted(snapshot: Json, metric: Json, comparison: Json) -> str:
    """Why a comparison's numbers are quoted and not recomputed; empty where they are recomputed."""
    if comparison["validity"] != "fixed" and is_last_look(snapshot, comparison):
        reason = why_looks_quoted(snapshot, comparison["looks"][-1])
        if reason:
            return reason
    if metric["moments"] is not None:
        return ""
    if comparison["validity"] != "fixed":
        return "no look has been taken"
    if any(choice["choice"] == "adjusted" and choice["used"] for choice in metric["choices"]):
        return "adjusted for covariates, and stored before their covariances were kept"
    if comparison["status"] not in ESTIMABLE:
        return f"its status is {comparison['status']}: there is nothing to recompute"
    if any(arm["mean"] is None or arm["variance"] is None for arm in metric["arms"]):
        return "an arm without mean or variance"
    return ""


def is_withheld(snapshot: Json, comparison: Json) -> bool:
    """Whether the snapshot's page shows no effect: a fixed plan before its end, a sequential one without a look."""
    if comparison["validity"] == "fixed":
        return bool(snapshot["phase"] != "ended")
    return comparison["verdict"] is None and not any(check["blocks"] for check in snapshot["health"])


def _arms(snapshot: Json, metric: Json, comparison: Json) -> Arms:
    record = metric["moments"]
    if record is None:
        return arms_from_means(metric, snapshot["control"], comparison["treatment"])
    return arms_of(record, record["arms"], snapshot["control"], comparison["treatment"])


def _looks(snapshot: Json, metric: Json, comparison: Json, bounds: Mapping[bool, PlannedLooks]) -> Iterator[Check]:
    """Every look; of the last one the snapshot still holds the arms."""
    for index, look in enumerate(comparison["looks"]):
        names = (metric["metric"], comparison["treatment"], f"look {look['index']}, day {look['day']:g}")
        quoted = why_looks_quoted(snapshot, look)
        if quoted:
            yield Check(kind="look", names=names, why_quoted=quoted, stored=look)
            continue
        last = index + 1 == len(comparison["looks"]) and is_last_look(snapshot, comparison)
        arms = _arms(snapshot, metric, comparison) if last and metric["moments"] is not None else None
        again = look_again(snapshot, metric, comparison, index, bounds=bounds, arms=arms)
        yield Check(kind="look", names=names, found=again.found, stored=look, also_quoted=again.quoted)


def _choice(snapshot: Json, metric: Json, choice: Json) -> Iterator[Check]:
    """The effect raw, capped or adjusted."""
    for stored in choice["effects"]:
        names = (metric["metric"], stored["treatment"], choice["choice"])
        record = metric["moments"]
        if record is None:
            yield Check(kind="choice", names=names, why_quoted=_BEFORE, stored=stored)
            continue
        moments = record["raw"] if choice["choice"] == "raw" and record["raw"] else record["arms"]
        adjust = choice["choice"] == "adjusted"
        arms = arms_of(record, moments, snapshot["control"], stored["treatment"], adjust=adjust)
        yield Check(kind="choice", names=names, found=effect_numbers(arms, stored["confidence"]), stored=stored)


def _baseline(metric: Json, baseline: Json) -> Iterator[Check]:
    """Every other variant against one that is not control."""
    record, against = metric["moments"], baseline["baseline"]
    for stored in baseline["effects"]:
        names = (metric["metric"], stored["treatment"], f"against {against!r}")
        if record is None:
            yield Check(kind="baseline", names=names, why_quoted=_BEFORE, stored=stored)
            continue
        arms = arms_of(record, record["arms"], against, stored["treatment"])
        yield Check(kind="baseline", names=names, found=effect_numbers(arms, stored["confidence"]), stored=stored)


def _segment(snapshot: Json, metric: Json, segment: Json) -> Iterator[Check]:
    """Every segment's effect, and whether they differ."""
    effects: dict[str, list[Effect]] = {}
    for cell in segment["cells"]:
        for stored in cell["effects"]:
            names = (metric["metric"], stored["treatment"], f"{segment['attribute']!r} is {cell['value']!r}")
            if not cell["moments"]:
                yield Check(kind="segment", names=names, why_quoted=_BEFORE, stored=stored)
                continue
            arms = arms_of(metric["moments"], cell["moments"], snapshot["control"], stored["treatment"])
            effects.setdefault(stored["treatment"], []).append(arms.effect)
            yield Check(kind="segment", names=names, found=effect_numbers(arms, stored["confidence"]), stored=stored)
    for stored in segment["interactions"]:
        known = [each for each in effects.get(stored["treatment"], []) if bool(each.usable) and float(each.se) > 0]
        names = (metric["metric"], stored["treatment"], f"by {segment['attribute']!r}")
        if stored["treatment"] not in effects:
            yield Check(kind="interaction", names=names, why_quoted=_BEFORE, stored=stored)
        else:
            yield Check(kind="interaction", names=names, found=_interaction(known), stored=stored)


def _interaction(effects: list[Effect]) -> Found:
    """Cochran's Q over the segments with a known effect."""
    if len(effects) < 2:
        return {"statistic": None, "p_value": None}
    value, se = (np.array([float(getattr(each, name)) for each in effects]) for name in ("value", "se"))
    status = np.full(value.shape, Status.OK, np.int8)
    tested = segment_heterogeneity(Effect.of(value, se, status=status))
    return {"statistic": float(tested.q), "p_value": float(tested.p_value)}
