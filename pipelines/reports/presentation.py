"""What dashboard, report and CLI share, so that one number looks the same everywhere.

`wording` holds labels, tones and signs, `advice` what to do about a health check, `formatting` the numbers,
`scorecard` the rows, `intervals` the pictures.
"""

from __future__ import annotations

from pipelines.formatting import (
    count,
    date,
    days,
    exact_p_value,
    metric_value,
    number,
    p_value,
    percent,
    period,
    short_percent,
    signed_percent,
    time,
)
from pipelines.reports.advice import Advice, health_advice
from pipelines.reports.breakdowns import breakdowns
from pipelines.reports.explaining import rule_text, would_change
from pipelines.reports.intervals import Axis, axis_svg, interval_svg, interval_title, shared_axis
from pipelines.reports.planned import (
    between_looks_text,
    deviation_text,
    deviation_texts,
    done_text,
    looked_text,
    looks_text,
    plan_facts,
    plan_words,
    progress_text,
    time_text,
)
from pipelines.reports.provenance import method_facts
from pipelines.reports.scorecard import ScorecardRow, effects_withheld, scorecard, shown_at
from pipelines.reports.tables import Table
from pipelines.reports.wording import (
    EXCLUSIONS,
    HEALTH_CHECKS,
    ROLES,
    Tone,
    Word,
    decision_word,
    health_word,
    name_in_words,
    phase_word,
    status_sentence,
    status_short,
    verdict_word,
)

__all__ = [
    "EXCLUSIONS",
    "HEALTH_CHECKS",
    "ROLES",
    "Advice",
    "Axis",
    "ScorecardRow",
    "Table",
    "Tone",
    "Word",
    "axis_svg",
    "between_looks_text",
    "breakdowns",
    "count",
    "date",
    "days",
    "decision_word",
    "deviation_text",
    "deviation_texts",
    "done_text",
    "effects_withheld",
    "exact_p_value",
    "health_advice",
    "health_word",
    "interval_svg",
    "interval_title",
    "looked_text",
    "looks_text",
    "method_facts",
    "metric_value",
    "name_in_words",
    "number",
    "p_value",
    "percent",
    "period",
    "phase_word",
    "plan_facts",
    "plan_words",
    "progress_text",
    "rule_text",
    "scorecard",
    "shared_axis",
    "short_percent",
    "shown_at",
    "signed_percent",
    "status_sentence",
    "status_short",
    "time",
    "time_text",
    "verdict_word",
    "would_change",
]
