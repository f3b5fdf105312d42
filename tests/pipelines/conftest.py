"""Snapshots to show: small, complete, and made to order."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.store.looks import PlanRecord
from pipelines.store.snapshot import (
    SCHEMA_VERSION,
    Arm,
    ArmValue,
    Comparison,
    DecisionRecord,
    Exclusion,
    HealthCheck,
    MetricResult,
    Snapshot,
)

START = datetime(2025, 11, 3, tzinfo=UTC)
END = START + timedelta(days=14)


def comparison(treatment: str = "new", **changes: object) -> Comparison:
    base = Comparison(
        treatment=treatment,
        difference=0.012,
        se=0.004,
        df=9812.25,
        statistic=3.0,
        low=0.00416,
        high=0.01984,
        p_value=0.0027,
        log_p=math.log(0.0027),
        score_p_value=0.00268,
        margin_p_value=None,
        confidence=0.95,
        lift=0.12,
        lift_low=0.0391,
        lift_high=0.2073,
        lift_status="ok",
        validity="fixed",
        status="ok",
        verdict="better",
        reason="The whole plausible range is an improvement.",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def metric(name: str = "checkout", role: str = "success", **changes: object) -> MetricResult:
    base = MetricResult(
        metric=name,
        label=name.capitalize(),
        description=f"What {name} measures.",
        role=role,
        kind="proportion",
        better="higher",
        unit_label="",
        margin=0.02 if role == "guardrail" else None,
        window_days=7.0,
        arms=(
            ArmValue(variant="old", n=4990, mean=0.1, variance=0.09, status="ok"),
            ArmValue(variant="new", n=4985, mean=0.112, variance=0.0995, status="ok"),
        ),
        comparisons=(comparison(),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def _metrics() -> tuple[MetricResult, ...]:
    revenue = metric(
        "revenue",
        "guardrail",
        kind="mean",
        unit_label="€",
        window_days=None,
        arms=(
            ArmValue(variant="old", n=4990, mean=12.4321, variance=410.0, status="ok"),
            ArmValue(variant="new", n=4985, mean=12.5104, variance=402.0, status="ok"),
        ),
        comparisons=(
            comparison(
                difference=0.0783,
                se=0.4035,
                df=9970.1,
                statistic=0.194,
                low=-0.7126,
                high=0.8692,
                p_value=0.846,
                log_p=math.log(0.846),
                score_p_value=None,
                margin_p_value=0.209,
                lift=0.0063,
                lift_low=-0.0563,
                lift_high=0.0728,
                verdict="not_yet_proven_safe",
                reason="Harm beyond 2% cannot be ruled out.",
            ),
        ),
    )
    returns = metric(
        "returns",
        "secondary",
        better="lower",
        arms=(
            ArmValue(variant="old", n=4990, mean=0.0, variance=0.0, status="ok"),
            ArmValue(variant="new", n=4985, mean=0.0, variance=0.0, status="ok"),
        ),
        comparisons=(
            comparison(
                difference=0.0,
                se=None,
                df=None,
                statistic=None,
                low=None,
                high=None,
                p_value=None,
                log_p=None,
                score_p_value=None,
                lift=None,
                lift_low=None,
                lift_high=None,
                lift_status="undefined_relative",
                status="zero_variance",
                verdict="not_enough_data",
                reason="No unit has returned anything.",
            ),
        ),
    )
    return (metric(), revenue, returns)


def snapshot(**changes: object) -> Snapshot:
    base = Snapshot(
        schema_version=SCHEMA_VERSION,
        snapshot_id="new_checkout-20251118T060000Z-1a2b3c",
        experiment="new_checkout",
        title="New checkout",
        hypothesis="One page instead of three lets more people finish.",
        owner="Payments",
        unit="user",
        control="old",
        start=START,
        end=END,
        analysed_at=END + timedelta(hours=6),
        data_until=END - timedelta(seconds=1),
        phase="ended",
        progress=1.0,
        plan=PlanRecord(alpha=0.05, power=0.8, minimum_effect=0.03, design="fixed"),
        exposed=10_000,
        arms=(
            Arm(variant="old", is_control=True, planned_share=0.5, exposed=5003, analysed=4990),
            Arm(variant="new", is_control=False, planned_share=0.5, exposed=4997, analysed=4985),
        ),
        exclusions=(
            Exclusion(reason="several_variants", units=20),
            Exclusion(reason="before_start", units=5),
            Exclusion(reason="after_end", units=0),
        ),
        health=(
            HealthCheck(
                name="sample_ratio",
                state="pass",
                blocks=False,
                statistic=0.0025,
                p_value=0.9601,
                message="The split is as planned.",
            ),
        ),
        decision=DecisionRecord(
            decision="needs_a_decision",
            treatment="new",
            headline="Checkout is better, revenue is not yet proven safe.",
            reasons=("Checkout: +12%.", "Revenue: harm beyond 2% cannot be ruled out."),
        ),
        metrics=_metrics(),
        definition_hashes={"experiment": "a" * 64, "plan": "b" * 64, "metric:checkout": "c" * 64},
        versions={"rampwise": "0.1.0", "numpy": "2.4.6"},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def blocked(**changes: object) -> Snapshot:
    broken = HealthCheck(
        name="sample_ratio",
        state="fail",
        blocks=True,
        statistic=61.2,
        p_value=5.2e-15,
        message="old has 5,400 users, 5,003 were expected. Look for redirects or bots that lose one variant.",
    )
    decision = DecisionRecord(
        decision="do_not_trust",
        treatment=None,
        headline="The data cannot be trusted: the split is broken.",
        reasons=("Sample ratio mismatch, p = 5.2 × 10⁻¹⁵.",),
    )
    hidden = tuple(
        replace(
            each, comparisons=tuple(replace(c, verdict=None, reason="A health check blocks.") for c in each.comparisons)
        )
        for each in _metrics()
    )
    return snapshot(**{"health": (broken,), "decision": decision, "metrics": hidden, **changes})


def running(**changes: object) -> Snapshot:
    decision = DecisionRecord(
        decision="keep_running", treatment=None, headline="Keep running until 17 Nov 2025.", reasons=()
    )
    hidden = tuple(
        replace(
            each,
            comparisons=tuple(replace(c, verdict=None, reason="Judged on 17 Nov 2025.") for c in each.comparisons),
        )
        for each in _metrics()
    )
    now = START + timedelta(days=5)
    values: dict[str, object] = {
        "phase": "running",
        "progress": 5 / 14,
        "analysed_at": now,
        "data_until": now,
        "decision": decision,
        "metrics": hidden,
    }
    return snapshot(**{**values, **changes})


class Samples:
    """Everything a test needs to make snapshots."""

    START, END = START, END
    snapshot = staticmethod(snapshot)
    blocked = staticmethod(blocked)
    running = staticmethod(running)
    metric = staticmethod(metric)
    comparison = staticmethod(comparison)


@pytest.fixture(scope="session")
def samples() -> type[Samples]:
    """Makers of snapshots: `samples.snapshot(title="...")`."""
    return Samples
