"""The decision rule: from the verdicts of all metrics to what to do, and the error rates that make it keep its word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stats.errors import OutOfRangeError, check_probability
from stats.verdicts import GUARDRAIL_VERDICTS, SUCCESS_VERDICTS, Decision, Verdict

_TOLERABLE = (Verdict.SAFE, Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE)


def decide(
    success: Sequence[Verdict],
    guardrails: Sequence[Verdict],
    *,
    blocked: bool = False,
    waiting: bool = False,
) -> Decision:
    """Decision for one treatment from the verdicts of its success metrics and guardrails.

    Parameters
    ----------
    success
        Verdicts of the success metrics; may be empty (an experiment that only protects guardrails).
    guardrails
        Verdicts of the guardrails; may be empty.
    blocked
        Whether a health check blocks: the data cannot be trusted.
    waiting
        Whether the design allows no verdict yet (a fixed-horizon experiment before its planned end).

    Returns
    -------
    Decision
        In this order: blocked -> ``do_not_trust``; waiting -> ``keep_running``; a guardrail harmed -> ``roll_back``; a
        success metric better and another worse -> ``needs_a_decision``; a success metric worse -> ``roll_back``; at
        least one better (or no success metric at all) -> ``ship`` if every guardrail is safe or within tolerance,
        else ``needs_a_decision``; otherwise ``inconclusive``.

    Raises
    ------
    OutOfRangeError
        If a list holds a verdict of the other kind.

    Notes
    -----
    The rule of Schultzberg, Ankargren and Frånberg (2024), "Risk-aware product decisions in A/B tests with multiple
    metrics", arXiv:2402.11609: superiority of at least one success metric, non-inferiority of all
    guardrails, no deterioration, and intact data.

    Examples
    --------
    >>> str(decide([Verdict.BETTER], [Verdict.SAFE])), str(decide([Verdict.BETTER], [Verdict.HARMED]))
    ('ship', 'roll_back')
    """
    _check("success", success, SUCCESS_VERDICTS)
    _check("guardrails", guardrails, GUARDRAIL_VERDICTS)
    if blocked:
        return Decision.DO_NOT_TRUST
    if waiting:
        return Decision.KEEP_RUNNING
    better, worse = Verdict.BETTER in success, Verdict.WORSE in success
    if Verdict.HARMED in guardrails:
        return Decision.ROLL_BACK
    if worse:
        return Decision.NEEDS_A_DECISION if better else Decision.ROLL_BACK
    if not better and success:
        return Decision.INCONCLUSIVE
    if all(verdict in _TOLERABLE for verdict in guardrails):
        # Without any metric nothing has been shown, so there is nothing to ship on.
        return Decision.SHIP if success or guardrails else Decision.INCONCLUSIVE
    return Decision.NEEDS_A_DECISION if success else Decision.INCONCLUSIVE


def decide_experiment(treatments: Sequence[Decision]) -> Decision:
    """Decision for an experiment from the decisions of its treatments.

    Parameters
    ----------
    treatments
        One decision per treatment, not empty.

    Returns
    -------
    Decision
        ``do_not_trust`` or ``keep_running`` if any treatment says so (they hold for the whole experiment); ``ship`` if
        any treatment ships; else ``needs_a_decision`` if any does; ``roll_back`` if all do; else ``inconclusive``.

    Examples
    --------
    >>> str(decide_experiment([Decision.ROLL_BACK, Decision.SHIP]))
    'ship'
    """
    if not treatments:
        raise OutOfRangeError("treatments", treatments, "at least one decision")
    for whole in (Decision.DO_NOT_TRUST, Decision.KEEP_RUNNING, Decision.SHIP, Decision.NEEDS_A_DECISION):
        if whole in treatments:
            return whole
    return Decision.ROLL_BACK if set(treatments) == {Decision.ROLL_BACK} else Decision.INCONCLUSIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRates:
    """How alpha and beta are spent so that the decision as a whole keeps them.

    Attributes
    ----------
    success_alpha
        Two-sided level of each success comparison.
    guardrail_alpha
        Two-sided level of each guardrail comparison (the non-inferiority test uses half of it, one-sided).
    power_each
        Power each single test needs so that the whole decision has the asked-for power.
    """

    success_alpha: float
    guardrail_alpha: float
    power_each: float


def error_rates(
    *, alpha: float, power: float, success_metrics: int, guardrails: int = 0, treatments: int = 1
) -> ErrorRates:
    """Level and power of each test under the decision rule.

    Parameters
    ----------
    alpha
        Two-sided false-positive rate of the decision to ship, in (0, 1).
    power
        Wanted probability of shipping a treatment that deserves it, in (0, 1).
    success_metrics, guardrails, treatments
        Their numbers. Without success metrics the guardrails decide alone.

    Notes
    -----
    Schultzberg et al. (2024), arXiv:2402.11609: one success metric suffices, so alpha is
    divided among the success comparisons (Bonferroni); all guardrails must pass, so their alpha is not corrected, and
    beta is divided by the number of guardrails plus one.

    Examples
    --------
    >>> rates = error_rates(alpha=0.05, power=0.8, success_metrics=2, guardrails=3)
    >>> rates.success_alpha, rates.guardrail_alpha, round(rates.power_each, 4)
    (0.025, 0.05, 0.95)
    """
    check_probability("alpha", alpha)
    check_probability("power", power)
    for name, number, least in (
        ("success_metrics", success_metrics, 0),
        ("guardrails", guardrails, 0),
        ("treatments", treatments, 1),
    ):
        if number < least:
            raise OutOfRangeError(name, number, f"a whole number of at least {least}")
    tests = guardrails + (1 if success_metrics else 0)
    return ErrorRates(
        success_alpha=alpha / max(success_metrics * treatments, 1),
        guardrail_alpha=alpha,
        power_each=1.0 - (1.0 - power) / max(tests, 1),
    )


def _check(name: str, verdicts: Sequence[Verdict], allowed: frozenset[Verdict]) -> None:
    for verdict in verdicts:
        if verdict not in allowed:
            raise OutOfRangeError(name, verdict, "verdicts among " + ", ".join(sorted(allowed)))
