"""What a plan needs, as text for a terminal."""

from __future__ import annotations

from app.commands.session import columns
from pipelines.formatting import in_one_line
from pipelines.reports.planning import (
    PlanAnswer,
    comparison_rows,
    gap_sentences,
    peeking_sentence,
    price_rows,
    reach_sentence,
    size_sentence,
    week_rows,
)


def answer_text(answer: PlanAnswer) -> str:
    """The sentence, every comparison where there are several, the price of peeking, the weeks and the gap."""
    parts = [in_one_line(text) for text in (size_sentence(answer), answer.choice.reason)]
    if len(answer.size.comparisons) > 1:
        parts += ["", columns(comparison_rows(answer))]
    parts += [
        "",
        "The price of peeking",
        columns(price_rows(answer), indent="  "),
        in_one_line(peeking_sentence(answer)),
    ]
    if answer.weeks:
        parts += ["", "If the experiment is planned to end after", columns(week_rows(answer), indent="  ")]
    lines = [in_one_line(text) for text in gap_sentences(answer)]
    if lines:
        parts += ["", lines[0], "What would fix it, each alone:", *(f"  - {line}" for line in lines[1:])]
    return "\n".join(parts)


def reach_text(answer: PlanAnswer, units: float) -> str:
    """What a number of units finds."""
    return in_one_line(reach_sentence(answer, units))
