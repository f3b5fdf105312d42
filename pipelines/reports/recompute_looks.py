"""The looks of a sequential design once more: from their estimates and the plan to bounds, intervals and verdicts.

An exported notebook shows and runs this file as it is, after `recompute.py`: it needs public functions of `stats`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.reports.recompute import Arms, Found, Json, comparison_numbers, verdict_of
from stats.effect import Effect, infer
from stats.group_sequential.spending import Spending
from stats.plan import Arm, Guardrail, Plan, SuccessMetric
from stats.plan_checks import LEAST_GAP
from stats.plan_looks import PlannedLooks, planned_looks

LARGEST_COVERAGE = 1.0 - 1e-15
INTERVAL = ("low", "high", "lift_low", "lift_high")
NOTHING: Found = dict.fromkeys((*INTERVAL, "p_value", "log_p", "score_p_value", "margin_p_value"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAgain:
    """One look: its numbers, what of it is quoted and why, and the coverage by itself; None where nothing is judged."""

    found: Found
    quoted: str
    nominal: float | None


def plan_again(decided: Json) -> Plan:
    """The Plan of `stats`, from everything that was decided."""
    content: dict[str, Any] = {
        **decided,
        "success": tuple(SuccessMetric(**each) for each in decided["success"]),
        "guardrails": tuple(Guardrail(**each) for each in decided["guardrails"]),
        "arms": tuple(Arm(**each) for each in decided["arms"]),
        "looks": tuple(decided["looks"]),
        "spending": _spending(decided["spending"]),
        "futility": _spending(decided["futility"]) if decided.get("futility") else None,
    }
    return Plan(**content)


def why_looks_quoted(snapshot: Json, look: Json) -> str:
    """Why a look is quoted and not recomputed; empty where it is recomputed."""
    decided = snapshot["plan"]["decided"]
    if decided is None or look["plan"] is None:
        return "it was stored before the whole plan was kept with every look"
    text = json.dumps(decided, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if look["plan"] != hashlib.sha256(text.encode()).hexdigest()[:16]:
        return "it was judged by the plan as it was then, which was changed since"
    return ""


def bounds_again(snapshot: Json, metric: Json, comparison: Json) -> dict[bool, PlannedLooks]:
    """What the plan says of a comparison's looks: with the information planned for the end, and before it was known.

    Bounds of earlier looks do not change when a look is added, so all looks are asked about at once.
    """
    plan, found = plan_again(snapshot["plan"]["decided"]), {}
    looks = comparison["looks"]
    for known in {look["information_fraction"] is not None for look in looks}:
        last = max(place for place, look in enumerate(looks) if (look["information_fraction"] is not None) is known)
        until = looks[: last + 1]
        found[known] = planned_looks(
            plan,
            metric["role"],
            Effect.of(
                [look["estimate"] for look in until],
                [look["se"] for look in until],
                [math.inf if look["df"] is None else look["df"] for look in until],
            ),
            days=[look["day"] for look in until],
            units=None if plan.units is None else [float(look["units"]) for look in until],
            planned_information=comparison["planned_information"] if known else None,
        )
    return found


def look_again(
    snapshot: Json,
    metric: Json,
    comparison: Json,
    index: int,
    *,
    bounds: Mapping[bool, PlannedLooks],
    arms: Arms | None,
) -> LookAgain:
    """One look, from the estimates of all looks until then.

    Parameters
    ----------
    index
        Which of the comparison's looks, from 0.
    bounds
        What `bounds_again` gave.
    arms
        The arms of this look, where the snapshot still holds them; None: of earlier looks there are only estimates.
    """
    look, plan = comparison["looks"][index], plan_again(snapshot["plan"]["decided"])
    known = look["information_fraction"] is not None
    looks, information = bounds[known], 1.0 / (look["se"] * look["se"])
    critical, nominal, inside = (float(each[index]) for each in (looks.critical, looks.confidence, looks.futility))
    judged = bool(looks.judged[index]) and nominal < LARGEST_COVERAGE
    found: Found = {
        "information": information,
        "information_fraction": information / comparison["planned_information"] if known else None,
        "statistic": look["estimate"] / look["se"],
        "boundary": critical if math.isfinite(critical) else None,
        "futility": inside if inside > 0 else None,
        "given_up": bool(looks.futile[index]),
        "validity": (looks.validity[index] if judged else plan.resolved_design).value,
    }
    if not judged:
        return LookAgain(found={**found, **dict.fromkeys(INTERVAL), "verdict": None}, quoted="", nominal=None)
    ends, quoted = _ends_again(metric, look, arms, nominal)
    given = {**{name: look[name] for name in INTERVAL}, "status": "ok", "lift_status": "ok", **ends}
    mine = {name: ends[name] for name in INTERVAL if name in ends}
    cut = cut_after_end(plan, look, mine, comparison["looks"][:index])
    found |= cut
    if arms is None and metric["margin"] is not None and look["lift_low"] is None and look["lift_high"] is None:
        quoted += " and the verdict"  # unbounded or undefined, which an earlier look does not tell
    else:
        found["verdict"] = verdict_of(metric, snapshot["plan"], given | cut)
    return LookAgain(found=found, quoted=quoted, nominal=nominal)


def _ends_again(metric: Json, look: Json, arms: Arms | None, nominal: float) -> tuple[Found, str]:
    """Ends of the intervals at the coverage a look has by itself, and what of them is quoted."""
    if arms is not None:
        numbers = comparison_numbers(metric, arms, nominal)
        return {name: numbers[name] for name in (*INTERVAL, "status", "lift_status")}, ""
    if look["method"] == "welch":
        effect = Effect.of(look["estimate"], look["se"], math.inf if look["df"] is None else look["df"])
        result = infer(effect, confidence=nominal)
        quoted = "the lift's interval, which needs the means of that day"
        return {"low": float(result.low), "high": float(result.high)}, quoted
    return {}, "the intervals, which need the counts of that day (a score interval)"


def at_a_look(snapshot: Json, metric: Json, comparison: Json, arms: Arms, bounds: Mapping[bool, PlannedLooks]) -> Found:
    """The numbers of a comparison of a sequential design: those of its last look, or estimates without intervals."""
    looks = comparison["looks"]
    plain = {**comparison_numbers(metric, arms, comparison["confidence"]), **NOTHING}
    if not is_last_look(snapshot, comparison):
        return {**plain, "validity": snapshot["plan"]["design"]}
    last = look_again(snapshot, metric, comparison, len(looks) - 1, bounds=bounds, arms=arms)
    if last.nominal is None:
        return {**plain, "validity": last.found["validity"]}
    numbers = comparison_numbers(metric, arms, last.nominal)
    planned = bounds[looks[-1]["information_fraction"] is not None]
    known = math.isfinite(planned.p_value) and numbers["method"] == "welch"
    return {
        **numbers,
        **NOTHING,
        **{name: last.found[name] for name in INTERVAL},
        "p_value": planned.p_value if known else None,
        "log_p": planned.log_p if known else None,
        "confidence": 1.0 - planned.level,
        "validity": last.found["validity"],
    }


def is_last_look(snapshot: Json, comparison: Json) -> bool:
    """Whether the comparison's numbers are those of its last look."""
    looks = comparison["looks"]
    return bool(looks) and looks[-1]["at"] == (comparison["looked_at"] or snapshot["analysed_at"])


def cut_after_end(plan: Plan, look: Json, ends: Found, before: Sequence[Json]) -> Found:
    """After the planned end: the part of each interval that the last planned look allows too, where they meet."""
    planned = [each for each in before if each["validity"] == "group_sequential" and each["low"] is not None]
    over = plan.end is not None and look["day"] > plan.end + LEAST_GAP and look["validity"] == "always_valid"
    if not planned or not over:
        return ends
    cut: Found = {}
    for low, high in (("low", "high"), ("lift_low", "lift_high")):
        if low not in ends or (ends[low] is None and ends[high] is None):
            continue
        lows = [float(each) for each in (ends[low], planned[-1][low]) if each is not None]
        highs = [float(each) for each in (ends[high], planned[-1][high]) if each is not None]
        inner_low, inner_high = max(lows, default=None), min(highs, default=None)
        if inner_low is None or inner_high is None or inner_low <= inner_high:
            cut |= {low: inner_low, high: inner_high}
    return {**ends, **cut}


def _spending(given: Json) -> Spending:
    table = tuple((float(rate), float(share)) for rate, share in given["table"])
    return Spending(family=given["family"], parameter=given["parameter"], table=table)
