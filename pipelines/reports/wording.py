"""One word, one tone and one sign per idea: verdicts, decisions, health, phases, roles and statuses on screen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stats.verdicts import Decision, Verdict


class Tone(StrEnum):
    """How a word is coloured. A colour never stands alone: the word and its glyph say the same."""

    GOOD = "good"
    BAD = "bad"
    CAUTION = "caution"
    NEUTRAL = "neutral"
    MUTED = "muted"
    """Shown, but not to be acted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word on screen.

    Attributes
    ----------
    label
        The word, as a person reads it.
    tone
        Its colour class.
    glyph
        One plain character for HTML, text and mail.
    icon
        The name of a Material symbol, for Streamlit's ``":material/name:"``.
    meaning
        One sentence for a reader without statistics.
    """

    label: str
    tone: Tone
    glyph: str
    icon: str
    meaning: str

    @property
    def text(self) -> str:
        """Glyph and label together, for example ``"▲ Better"``."""
        return f"{self.glyph} {self.label}"


def _word(label: str, tone: Tone, glyph: str, icon: str, meaning: str) -> Word:
    return Word(label=label, tone=tone, glyph=glyph, icon=icon, meaning=meaning)


VERDICTS: Final[dict[Verdict, Word]] = {
    Verdict.BETTER: _word(
        "Better", Tone.GOOD, "▲", "trending_up", "Every plausible value of the effect is an improvement."
    ),
    Verdict.WORSE: _word(
        "Worse", Tone.BAD, "▼", "trending_down", "Every plausible value of the effect is a deterioration."
    ),
    Verdict.NO_CLEAR_CHANGE: _word(
        "No clear change",
        Tone.NEUTRAL,
        "◆",
        "remove",
        "The plausible effects include an improvement and a deterioration.",
    ),
    Verdict.TOO_SMALL_TO_MATTER: _word(
        "Too small to matter",
        Tone.NEUTRAL,
        "≈",
        "compress",
        "Every plausible value of the effect is smaller than the minimum effect of the plan.",
    ),
    Verdict.SAFE: _word(
        "Safe", Tone.GOOD, "✓", "verified_user", "No plausible value of the effect is worse than the tolerated margin."
    ),
    Verdict.SLIGHTLY_WORSE_WITHIN_TOLERANCE: _word(
        "Slightly worse, within tolerance",
        Tone.CAUTION,
        "▽",
        "shield",
        "A deterioration, but no plausible value is worse than the tolerated margin.",
    ),
    Verdict.NOT_YET_PROVEN_SAFE: _word(
        "Not yet proven safe",
        Tone.CAUTION,
        "?",
        "gpp_maybe",
        "The plausible effects include harm beyond the tolerated margin.",
    ),
    Verdict.HARMED: _word(
        "Harmed",
        Tone.BAD,
        "✗",
        "gpp_bad",
        "A deterioration, and the plausible effects include harm beyond the tolerated margin.",
    ),
    Verdict.NOT_ENOUGH_DATA: _word(
        "Not enough data", Tone.NEUTRAL, "…", "hourglass_empty", "The data cannot answer this yet."
    ),
}

WITHHELD: Final = _word(
    "Withheld", Tone.MUTED, "○", "visibility_off", "There is no verdict yet, or the data must not be trusted."
)

DECISIONS: Final[dict[Decision, Word]] = {
    Decision.SHIP: _word(
        "Ship", Tone.GOOD, "▲", "rocket_launch", "The treatment improves what it should and harms nothing."
    ),
    Decision.KEEP_RUNNING: _word(
        "Keep running", Tone.NEUTRAL, "▶", "play_circle", "The planned end has not been reached."
    ),
    Decision.ROLL_BACK: _word("Roll back", Tone.BAD, "▼", "undo", "The treatment does harm."),
    Decision.NEEDS_A_DECISION: _word(
        "Needs a decision", Tone.CAUTION, "◐", "balance", "The results pull in different directions: a person decides."
    ),
    Decision.INCONCLUSIVE: _word(
        "Inconclusive", Tone.NEUTRAL, "◆", "help", "The data neither show an improvement nor rule one out."
    ),
    Decision.DO_NOT_TRUST: _word(
        "Do not trust", Tone.BAD, "⊘", "block", "A health check failed: the numbers may be wrong."
    ),
}

HEALTH: Final[dict[str, Word]] = {
    "pass": _word("Passed", Tone.GOOD, "✓", "check_circle", "Nothing suspicious was found."),
    "warn": _word("Warning", Tone.CAUTION, "!", "warning", "The result can be read, but look at this."),
    "fail": _word("Failed", Tone.BAD, "⊘", "error", "Something is wrong with the data."),
}

HEALTH_CHECKS: Final[dict[str, str]] = {
    "sample_ratio": "Sample ratio",
    "several_variants": "Units in several variants",
    "exposures": "Exposures",
    "values": "Metric values",
    "arrivals": "New units",
    "imbalance": "Alike before exposure",
    "data_stale": "Fresh data",
    "few_units": "Enough units",
}

PHASES: Final[dict[str, Word]] = {
    "planned": _word("Planned", Tone.NEUTRAL, "○", "event", "It has not started."),
    "running": _word("Running", Tone.NEUTRAL, "▶", "play_circle", "It has started and not reached its planned end."),
    "ended": _word("Ended", Tone.NEUTRAL, "■", "flag", "It has reached its planned end."),
}

ROLES: Final[dict[str, str]] = {
    "success": "Success",
    "guardrail": "Guardrail",
    "secondary": "Secondary",
    "exploratory": "Exploratory",
}

EXCLUSIONS: Final[dict[str, str]] = {
    "several_variants": "Seen in several variants",
    "before_start": "First exposure before the start",
    "after_end": "First exposure after the end",
    "in_the_future": "First exposure in the future",
    "unknown_variant": "In a variant that is not defined",
    "not_activated": "Not activated",
    "ambiguous_identity": "With several known identities",
}

DESIGNS: Final[dict[str, str]] = {
    "fixed": "Fixed horizon: one look, at the planned end",
    "group_sequential": "Group-sequential: looks up to a planned end",
    "always_valid": "Always valid: looks at any time",
}

VALIDITIES: Final[dict[str, str]] = {
    "fixed": "valid once, at the planned end",
    "group_sequential": "valid at the planned looks",
    "always_valid": "valid at every look",
}

METHODS: Final[dict[str, str]] = {
    "welch": "Welch's t",
    "score_boschloo": "Boschloo's exact test",
    "score_fisher": "Fisher's exact test",
}
"""The test behind a p-value."""

SEQUENTIAL_METHODS: Final[dict[str, str]] = {
    "group_sequential": "repeated p-value, over all looks so far",
    "always_valid": "always-valid p-value",
}
"""What a p-value is under a design with several looks: comparable with the level of the whole plan."""

STATUSES: Final[dict[str, tuple[str, str]]] = {
    "ok": ("", ""),
    "unbounded": ("unbounded", "The control value is too uncertain for limits of the relative change on both sides."),
    "undefined_relative": ("no lift", "The control value is too close to zero for a relative change."),
    "zero_variance": ("no spread", "All values are the same: the uncertainty cannot be estimated."),
    "insufficient_data": ("too few units", "There are fewer units than the method needs."),
    "precision_loss": ("precision lost", "The sums cancelled each other: too few correct digits are left."),
    "impossible_arm": ("unplanned arm", "Units were seen in a variant that was planned to get none."),
    "invalid_input": ("invalid input", "The data hold a value that is not a number, or a negative count."),
}
"""Per status: the words in place of a number, and the sentence that explains them."""


def verdict_word(verdict: str | None) -> Word:
    """The word of a verdict; of a withheld one for ``None``."""
    return WITHHELD if verdict is None else VERDICTS[Verdict(verdict)]


def decision_word(decision: str) -> Word:
    """The word of a decision."""
    return DECISIONS[Decision(decision)]


def health_word(state: str) -> Word:
    """The word of a health check's state."""
    return HEALTH[state]


def phase_word(phase: str) -> Word:
    """The word of a phase."""
    return PHASES[phase]


def name_in_words(name: str, words: dict[str, str]) -> str:
    """A name as a person reads it; names without an entry lose their underscores."""
    return words.get(name, name.replace("_", " ").capitalize())


def status_short(status: str) -> str:
    """What stands in place of a number, for example ``"too few units"``."""
    return STATUSES.get(status, (status.replace("_", " "), ""))[0]


def status_sentence(status: str) -> str:
    """Why there is no number, in one sentence; empty where there is one."""
    return STATUSES.get(status, ("", status.replace("_", " ").capitalize() + "."))[1]
