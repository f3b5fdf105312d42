"""A reported finding never disappears in silence: fixed and sequential designs, success, secondary and guardrails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from app.commands.scorecards import scorecard_text
from pipelines.analysis import analyse
from pipelines.definitions.metrics import ProportionMetric
from pipelines.reports.render import render_html
from pipelines.store.snapshot import from_json, to_json

DAY = timedelta(days=1)
METRICS = (
    ProportionMetric(name="conversion", kind="proportion", event="purchase", better="higher", label="Conversion"),
    ProportionMetric(name="errors", kind="proportion", event="error", better="lower", label="Errors"),
    ProportionMetric(name="shares", kind="proportion", event="share", better="higher", label="Shares"),
)
FIXED = {"minimum_effect": 0.05}
ALWAYS_VALID = {"minimum_effect": 0.3, "design": "always_valid"}
EXPERIMENT = {"success": ["conversion"], "guardrails": [{"metric": "errors", "margin": 0.1}], "secondary": ["shares"]}
NOW = datetime(2026, 3, 30, tzinfo=UTC)
SAID = 'the verdict was "{}"; the data since have changed that.'


def rows(lab, late: bool):
    """2,000 users per variant; `new` does better at everything until the late rows of `old` arrive."""
    unit = list(range(4_000))
    variant = ["new" if each % 2 else "old" for each in unit]
    exposures = pa.table({"unit_id": unit, "variant": variant, "exposed_at": [lab.START + DAY] * len(unit)})
    events = []
    for each in unit:
        new, turn = each % 2 == 1, each // 2 % 20
        events += [(each, kind) for kind in ("purchase", "share") if turn < (8 if new else 4)]
        events += [(each, "error")] * (turn < (2 if new else 4))
    if late:
        for each in unit:
            new, turn = each % 2 == 1, each // 2 % 20
            events += [(each, kind) for kind in ("purchase", "share") if not new and 4 <= turn < 8]
            events += [(each, "error")] * (new and 2 <= turn < 4)
    return exposures, pa.table(
        {
            "unit_id": [each for each, _ in events],
            "event": [kind for _, kind in events],
            "occurred_at": [lab.START + 1.5 * DAY] * len(events),
            "value": pa.array([None] * len(events), pa.float64()),
        }
    )


@pytest.mark.parametrize(
    ("plan", "days"), [(FIXED, (14.5, 15, 16, 17)), (ALWAYS_VALID, (3, 5, 6, 7))], ids=["fixed", "always valid"]
)
def test_a_finding_that_later_data_change_is_said_at_every_later_analysis_everywhere(lab, plan, days):
    known, found = {}, []
    with lab.warehouse() as warehouse:
        for number, day in enumerate(days):
            lab.load(warehouse, *rows(lab, late=number > 0))
            definitions = lab.definitions(lab.experiment(plan=plan, **EXPERIMENT), *METRICS)
            (snapshot,) = analyse(warehouse, definitions, ["checkout"], now=lab.START + day * DAY, previous=known)
            known = {"checkout": from_json(to_json(snapshot))}
            found.append(snapshot)
    first, *later = found
    verdicts = {each.metric: each.comparisons[0].verdict for each in first.metrics}
    assert verdicts == {"conversion": "better", "errors": "safe", "shares": "better"}
    assert "the verdict was" not in to_json(first)
    for snapshot in later:
        for metric in snapshot.metrics:
            assert metric.comparisons[0].earlier is not None, metric.metric
            assert metric.comparisons[0].earlier.verdict == verdicts[metric.metric]
            assert SAID.format(verdicts[metric.metric]) in metric.comparisons[0].reason
        told = [
            " ".join(snapshot.decision.reasons),
            " ".join(scorecard_text(snapshot).split()),
            " ".join(render_html(snapshot, rendered_at=NOW).replace("&#34;", '"').split()),
            to_json(snapshot).replace('\\"', '"'),
        ]
        for text in told:
            for label in ("Conversion", "Errors", "Shares"):
                assert label in text
            assert text.count(SAID.format("better")) >= 2
            assert SAID.format("safe") in text
