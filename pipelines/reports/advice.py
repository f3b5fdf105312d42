"""Likely causes and the next step of every health check: the same words on page, report, mail and terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Where to look, and what to do then.

    Attributes
    ----------
    causes
        What is behind such a finding as a rule, sentences; the most frequent first.
    next_step
        What to do now, in one or two sentences; `commands` stand between backticks.
    """

    causes: tuple[str, ...]
    next_step: str


# What is frequent comes from Fabijan et al. (2019), KDD, "Diagnosing sample ratio mismatch in online controlled
# experiments", and Kohavi, Tang and Xu (2020), "Trustworthy online controlled experiments", chapters 3 and 21.
HEALTH_ADVICE: Final[dict[str, Advice]] = {
    "sample_ratio": Advice(
        causes=(
            "Exposures are not logged at one moment in every variant, before anything differs: redirects, crashes.",
            "Units were removed after assignment, by a filter or a bot rule that one variant triggers more often.",
            "The shares changed while the experiment ran: then the planned shares are not those that were used.",
        ),
        next_step="Find the cause and mend it, then start again with new units: these data cannot be repaired by "
        "waiting.",
    ),
    "several_variants": Advice(
        causes=(
            "The assignment hangs on something that changes for one unit: a cookie, a device, a session.",
            "The shares or the salt of the assignment were changed while it ran, so that units moved.",
            "Another variant is served as a fallback when the flag cannot be read.",
        ),
        next_step="See in the exposure log which units moved and when, and make the assignment stick. Where the result "
        "is blocked, start again with new units afterwards.",
    ),
    "exposures": Advice(
        causes=(
            "The exposure log calls the experiment or a variant by another name than the definition.",
            "The log was not loaded, or only a part of it.",
            "The start, the end or the clock of the log are not what they seem.",
            "A variant is never shown, or crashes before its exposure is logged.",
        ),
        next_step="Compare names and times in the exposure log with the definition, mend what differs, then run "
        "`rampwise ingest exposures` and `rampwise analyze`.",
    ),
    "values": Advice(
        causes=(
            "Some places log the event without its value: an old client, a new way to pay.",
            "The value stands in another column or attribute than `value`.",
            "Events that have no amount, such as free orders, are logged under the same name.",
        ),
        next_step="Look at the events without a value; mend the log, or leave them out by a filter in the metric's "
        "definition, then load and analyse again.",
    ),
    "data_stale": Advice(
        causes=(
            "The export that brings the data has stopped, or its files wait in the inbox.",
            "Files were refused: the page Data quality says which, and why.",
            "Nothing happened since, because the product was closed or switched off.",
        ),
        next_step="See on the page Data quality, or with `rampwise data quality`, what came last from each source; "
        "load what is missing, then run `rampwise analyze`.",
    ),
    "arrivals": Advice(
        causes=(
            "The flag was switched off, or its share was set to zero.",
            "Exposures are no longer logged or loaded, while events still are.",
            "Enrolment ended on purpose.",
        ),
        next_step="Check the flag, then the exposure log of the last two days. If enrolment ended on purpose, there is "
        "nothing to do.",
    ),
    "imbalance": Advice(
        causes=(
            "The assignment is not random: it follows something that also drives the metrics, such as the country.",
            "One variant loses a kind of units after the assignment, so that those who stay differ.",
            "An earlier experiment on the same units left its mark on one of the groups.",
        ),
        next_step="Compare the variants by segment and by day to see where they part, and mend the assignment; then "
        "start again with new units.",
    ),
    "few_units": Advice(
        causes=(
            "The experiment has only just started.",
            "Activation, a filter or a window that is still open leaves most units out.",
            "Fewer units reach the place where the variants differ than was planned.",
        ),
        next_step="Decide nothing on so few: wait, or let more units take part. The page Sample size says how many it "
        "takes.",
    ),
    "plan_changed": Advice(
        causes=(
            "The experiment's file, or one of its metrics, was edited after the first analysis.",
            "Shares or dates were changed to enrol faster, or to end sooner or later.",
        ),
        next_step="The frozen plan stays in force. Put the files back if the change was not meant; if it was, end this "
        "experiment and start another with the new plan.",
    ),
    "activation": Advice(
        causes=(
            "The treatment changes who does what activates, so that those who are analysed differ in kind.",
            "One variant logs that event more often, or earlier.",
        ),
        next_step="Activate by an event from before the variants differ, or analyse all exposed units.",
    ),
}
"""By name of the check; beside the checks of a snapshot a plan that was changed, and the split of the activated."""

UNKNOWN: Final = Advice(
    causes=("This check was made by another version of rampwise, which this one knows no causes of.",),
    next_step="Read what was found, and look at the result with the version that made it.",
)


def health_advice(name: str) -> Advice:
    """Causes and next step of a check by its name; of one that is not known here, where to find them."""
    return HEALTH_ADVICE.get(name, UNKNOWN)
