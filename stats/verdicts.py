"""The words of a verdict and of a decision: one enum each, shared by table, chart, report, CLI and JSON."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What one metric says about one treatment."""

    BETTER = "better"
    WORSE = "worse"
    NO_CLEAR_CHANGE = "no_clear_change"
    TOO_SMALL_TO_MATTER = "too_small_to_matter"
    SAFE = "safe"
    SLIGHTLY_WORSE_WITHIN_TOLERANCE = "slightly_worse_within_tolerance"
    NOT_YET_PROVEN_SAFE = "not_yet_proven_safe"
    HARMED = "harmed"
    NOT_ENOUGH_DATA = "not_enough_data"


class Decision(StrEnum):
    """What to do with an experiment."""

    SHIP = "ship"
    KEEP_RUNNING = "keep_running"
    ROLL_BACK = "roll_back"
    NEEDS_A_DECISION = "needs_a_decision"
    INCONCLUSIVE = "inconclusive"
    DO_NOT_TRUST = "do_not_trust"
