"""The rules that decide a tick, each by itself: what it says, or nothing."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from pipelines.rollouts.evidence import Reading
from pipelines.rollouts.lifecycle import Happening, Phase
from pipelines.rollouts.situation import Decision, Situation
from stats.ramp import RampVerdict

SAMPLE_RATIO_ALPHA = 0.001
"""Sequential p-value of the units' split below which nothing is believed; over the whole ramp."""
MOST_CONTRADICTORY = 0.01
"""Share of units seen in several arms above which nothing is believed."""
FEWEST_CONTRADICTORY = 5
"""So few contradictory units never stop anything: a support case, a tester's second device."""
BROKEN_ALPHA = 1e-4
"""Chance that a working treatment is unseen, below which it is called broken."""
EXPIRES = timedelta(days=30)
"""A rollout that was armed and could not begin for so long is expired."""
CLOCK_TOLERANCE = timedelta(seconds=5)

NO_DATA_YET = "no_data_yet"


def manual_kill(it: Situation) -> Decision | None:
    """Somebody switched the published flag off."""
    if not it.killed:
        return None
    return Decision(
        happening=Happening.KILL, code="kill", reason="The published flag was switched off; the log says so now."
    )


def harm(it: Situation) -> Decision | None:
    """A guardrail that rolls back is proven harmed."""
    if it.state.phase is Phase.ROLLING_BACK:
        return None
    worst = _worst(it, "roll_back")
    if worst is None:
        return None
    return Decision(
        happening=Happening.ROLL_BACK,
        code="harm",
        reason=f"{worst.title}: proven worse than tolerated, {_range(worst)}.",
        details={"metric": worst.metric, "arm": worst.arm, "reading": worst.as_dict()},
    )


def broken(it: Situation) -> Decision | None:
    """Control is seen, the treatment never: it fails before it can be counted."""
    if not it.in_stage or not it.evidence.expects_control:
        return None
    control = it.evidence.stage_units.get("control", 0)
    share = 1.0 - it.evidence.control_share
    if it.evidence.treated_in_stage() or control == 0 or control * np.log1p(-share) > np.log(BROKEN_ALPHA):
        return None
    return Decision(
        happening=Happening.ROLL_BACK,
        code="broken_treatment",
        reason=f"{control:,} units were seen in control since the stage began and none in the treatment, which should "
        "be as many: it breaks before it can be seen.",
        details={"control": control},
    )


def clock(it: Situation) -> Decision | None:
    """The clock is behind the log."""
    if it.now >= it.state.last_at - CLOCK_TOLERANCE:
        return None
    return _hold(
        it,
        "clock_went_back",
        f"The clock says {it.now.isoformat()}, the log's last line is of {it.state.last_at.isoformat()}: nothing "
        "is advanced until it has caught up.",
    )


def rolling_back(it: Situation) -> Decision | None:
    """What was decided is finished before anything else is asked."""
    if it.state.phase is Phase.ROLLING_BACK:
        return Decision(happening=Happening.ROLLED_BACK, code=it.state.code, reason=it.state.reason)
    if it.state.phase is Phase.COMPLETING:
        return Decision(happening=Happening.SOAK, code="completing", reason="Everybody has it; it is still watched.")
    return None


def warn(it: Situation) -> Decision | None:
    """A guardrail that only warns is proven harmed, and that was not said yet."""
    for reading in it.evidence.guardrails:
        if reading.verdict is RampVerdict.HARM and reading.on_harm == "warn" and reading.metric not in it.state.warned:
            return Decision(
                happening=Happening.WARN,
                code="warn",
                reason=f"{reading.title}: proven worse than tolerated, {_range(reading)}. It only warns.",
                details={"metric": reading.metric, "reading": reading.as_dict()},
            )
    return None


def harm_holds(it: Situation) -> Decision | None:
    """A guardrail that holds is proven harmed."""
    worst = _worst(it, "hold")
    if worst is None:
        return None
    return _hold(it, "harm_holds", f"{worst.title}: proven worse than tolerated, {_range(worst)}.")


def risk_budget(it: Situation) -> Decision | None:
    """More units are likely harmed than the plan allows."""
    budget, excess = it.rollout.risk_budget, it.evidence.excess
    if budget is None or excess is None or excess <= budget:
        return None
    return _hold(
        it, "risk_budget", f"About {excess:,.0f} units were harmed, more than the budget of {budget:,.0f}; look at it."
    )


def unreadable(it: Situation) -> Decision | None:
    """The data cannot be read."""
    if it.evidence.readable:
        return None
    return _hold(it, "unreadable", f"The data cannot be read: {it.evidence.problem}")


def stale(it: Situation) -> Decision | None:
    """No exposures come, or none from the treatment yet."""
    if not it.in_stage:
        return None
    limit = timedelta(minutes=it.rollout.maximum_data_age_minutes)
    if it.silence > limit:
        seen = "" if it.evidence.latest is None else f", the latest is of {it.evidence.latest:%Y-%m-%d %H:%M} UTC"
        words = (
            f"No exposures for {_hours(it.silence)}{seen}. Check that the application runs and that its exposures "
            "are ingested."
        )
        if it.rollout.on_no_data == "roll_back":
            return Decision(happening=Happening.ROLL_BACK, code="no_data", reason=words)
        return _hold(it, "no_data", words)
    if it.evidence.treated_in_stage() == 0:
        return _hold(it, NO_DATA_YET, "No unit was seen in the treatment yet since the stage began.")
    return None


def integrity(it: Situation) -> Decision | None:
    """Units are not split as planned, or are seen in several arms."""
    p = it.evidence.sample_ratio_p
    if p is not None and p < SAMPLE_RATIO_ALPHA:
        return _hold(
            it,
            "sample_ratio",
            f"Units are not split as planned (p = {p:.2g}): exposures are lost in one arm, or logged unevenly. No "
            "number can be trusted until that is found.",
        )
    units = sum(it.evidence.run_units.values())
    contradictory = it.evidence.contradictory
    if contradictory > max(FEWEST_CONTRADICTORY, MOST_CONTRADICTORY * units):
        return _hold(
            it,
            "contradictory_units",
            f"{contradictory:,} of {units:,} units were seen in several arms: ids are shared or change, or two flag "
            "files are in use.",
        )
    return None


def freeze(it: Situation) -> Decision | None:
    """Stages are frozen."""
    freeze = it.rollout.freeze_at(it.now)
    if freeze is None or it.state.phase not in (Phase.ARMED, Phase.RUNNING, Phase.PAUSED):
        return None
    why = f": {freeze.reason}" if freeze.reason else ""
    return _hold(it, "freeze", f"No stage is advanced now{why}.")


def begin(it: Situation) -> Decision | None:
    """It is armed, and nothing speaks against the first stage."""
    if it.state.phase is not Phase.ARMED:
        return None
    return Decision(happening=Happening.BEGIN, code="begin", reason="The first stage begins.", details={"stage": 0})


def expired(it: Situation) -> Decision | None:
    """It was armed for too long."""
    armed = it.state.armed_since
    if it.state.phase is not Phase.ARMED or armed is None or it.now - armed < EXPIRES:
        return None
    return Decision(
        happening=Happening.EXPIRE, code="expired", reason=f"It could not begin for {EXPIRES.days} days; start anew."
    )


def paused(it: Situation) -> Decision | None:
    """A person paused it."""
    if it.state.phase is not Phase.PAUSED:
        return None
    return _hold(it, "paused", "A person paused it; `rampwise rollout resume` lets it go on.")


def soaking(it: Situation) -> Decision | None:
    """Everybody has it: watched until the soak is over."""
    if it.state.phase is not Phase.SOAK:
        return None
    since = it.state.phase_since or it.now
    left = timedelta(hours=it.rollout.soak_hours) - (it.now - since)
    if left > timedelta(0):
        return _hold(it, "soak", f"Everybody has it; it is watched for {_hours(left)} more.")
    return Decision(
        happening=Happening.FINISH, code="finished", reason="The soak is over: the flag can go from the code."
    )


def approval(it: Situation) -> Decision | None:
    """A person must approve the next stage."""
    stage = it.stage
    if stage is None or it.state.approved == it.state.stage:
        return None
    last = it.state.stage == len(it.rollout.stages) - 1
    if stage.approval:
        return _hold(it, "approval", f"A person must approve {_next(it)}: `rampwise rollout approve`.")
    if last and it.rollout.strategy == "ab_test":
        words = "An A/B test is decided by a person who has read its goals: approve gives it to everybody."
        return _hold(it, "approval", words)
    return None


def minimum(it: Situation) -> Decision | None:
    """The stage is too young, or too few units were seen."""
    stage = it.stage
    if stage is None:
        return None
    if it.hours < stage.minimum_hours:
        left = timedelta(hours=stage.minimum_hours - it.hours)
        return _hold(
            it, "minimum_time", f"The stage lasts {stage.minimum_hours:g} hours at least: {_hours(left)} left."
        )
    treated = it.evidence.treated_in_stage()
    if treated < stage.minimum_units:
        return _hold(
            it, "minimum_units", f"{treated:,} of at least {stage.minimum_units:,} units were seen in the treatment."
        )
    return None


def proven_safe(it: Situation) -> Decision | None:
    """Every guardrail is proven safe: the next stage."""
    if it.stage is None or any(_open(reading) for reading in it.evidence.guardrails):
        return None
    if not it.evidence.guardrails and it.rollout.guardrails:
        return None
    words = "every guardrail is proven safe" if it.evidence.guardrails else "it has no guardrails"
    return _onward(it, "safe", f"The stage's time and units are reached and {words}.")


def timeout(it: Situation) -> Decision | None:
    """Guardrails are still open: wait, or what the plan says once the time is over."""
    stage = it.stage
    if stage is None:
        return None
    still = [reading.title for reading in it.evidence.guardrails if _open(reading)]
    still = still or [guardrail.metric for guardrail in it.rollout.guardrails]
    waiting = f"Not proven safe yet: {', '.join(dict.fromkeys(still))}."
    if stage.maximum_hours is None or it.hours < stage.maximum_hours:
        return _hold(it, "collecting", waiting)
    over = f"{waiting} The stage's {stage.maximum_hours:g} hours are over."
    if it.rollout.on_timeout == "roll_back":
        return Decision(happening=Happening.ROLL_BACK, code="timeout", reason=over)
    if it.rollout.on_timeout == "advance":
        return _onward(it, "timeout", f"{over} The plan says advance.")
    return _hold(it, "timeout", f"{over} The plan says hold: approve nothing changes, advance or kill does.")


def nothing_to_do(it: Situation) -> Decision:
    """Nothing speaks: it stays as it is."""
    return Decision(happening=None, code=it.state.code, reason=it.state.reason)


def _worst(it: Situation, reaction: str) -> Reading | None:
    harmed = [r for r in it.evidence.guardrails if r.verdict is RampVerdict.HARM and r.on_harm == reaction]
    return max(harmed, key=lambda reading: reading.harmful or 0.0, default=None)


def _open(reading: Reading) -> bool:
    """Whether a guardrail keeps a stage from going on."""
    return reading.on_harm != "warn" and reading.verdict is not RampVerdict.SAFE


def _hold(it: Situation, code: str, reason: str) -> Decision:
    """Wait; a line only where the log does not say so already."""
    same = it.state.code == code or not it.state.may(Happening.HOLD)
    return Decision(happening=None if same else Happening.HOLD, code=code, reason=reason)


def _onward(it: Situation, code: str, reason: str) -> Decision:
    assert it.state.stage is not None  # noqa: S101 - asked by the rules above
    following = it.state.stage + 1
    if following >= len(it.rollout.stages):
        return Decision(happening=Happening.COMPLETE, code=code, reason=f"{reason} It was the last stage.")
    return Decision(happening=Happening.ADVANCE, code=code, reason=reason, details={"stage": following})


def _next(it: Situation) -> str:
    following = (it.state.stage or 0) + 1
    if following >= len(it.rollout.stages):
        return "giving it to everybody"
    return f"stage {following + 1} ({it.rollout.stages[following].coverage:.3g} of the units)"


def _range(reading: Reading) -> str:
    def percent(value: float | None) -> str:
        return "unbounded" if value is None or not np.isfinite(value) else f"{value:+.1%}"

    arm = f" in {reading.arm}" if reading.arm not in ("", "treatment") else ""
    return (
        f"{percent(reading.value)}{arm}, plausible {percent(reading.low)} to {percent(reading.high)}, "
        f"tolerated {reading.tolerance:.1%}"
    )


def _hours(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return (
        f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
    )
