"""A workspace with results made by hand: every kind of decision, without ingesting anything."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from streamlit.config import set_option
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app import server
from pipelines.access.actors import local_actor
from pipelines.config import create_workspace
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
from pipelines.store.state import State

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)


def comparison(
    control: ArmValue, treatment: ArmValue, *, verdict: str | None, reason: str = "A reason.", confidence: float = 0.95
) -> Comparison:
    """A comparison whose numbers hang together; the interval is a rough normal one."""
    assert control.mean is not None
    assert treatment.mean is not None
    assert control.variance is not None
    assert treatment.variance is not None
    difference = treatment.mean - control.mean
    se = math.sqrt(control.variance / control.n + treatment.variance / treatment.n)
    p_value = math.erfc(abs(difference / se) / math.sqrt(2))
    return Comparison(
        treatment=treatment.variant,
        difference=difference,
        se=se,
        df=float(control.n + treatment.n - 2),
        statistic=difference / se,
        low=difference - 1.96 * se,
        high=difference + 1.96 * se,
        p_value=p_value,
        log_p=math.log(p_value),
        score_p_value=p_value,
        margin_p_value=None,
        confidence=confidence,
        lift=difference / control.mean,
        lift_low=(difference - 1.96 * se) / control.mean,
        lift_high=(difference + 1.96 * se) / control.mean,
        lift_status="ok",
        validity="fixed",
        status="ok",
        verdict=verdict,
        reason=reason,
    )


def metric(
    name: str,
    role: str,
    rates: tuple[float, ...],
    verdicts: tuple[str | None, ...],
    *,
    n: int = 20_000,
    label: str = "",
    kind: str = "proportion",
    unit_label: str = "",
    better: str = "higher",
) -> MetricResult:
    """A metric of a control and one treatment per further rate."""
    names = ("control", "new", "newer")
    values = [
        ArmValue(
            variant=arm,
            n=n,
            mean=rate,
            variance=rate * (1 - rate) if kind == "proportion" else 9 * rate,
            status="ok",
        )
        for arm, rate in zip(names, rates, strict=False)
    ]
    return MetricResult(
        metric=name,
        label=label or name.replace("_", " ").capitalize(),
        description="What it is.",
        role=role,
        kind=kind,
        better=better,
        unit_label=unit_label,
        window_days=7.0,
        margin=0.05 if role == "guardrail" else None,
        arms=tuple(values),
        comparisons=tuple(
            comparison(values[0], value, verdict=verdict) for value, verdict in zip(values[1:], verdicts, strict=True)
        ),
    )


def snapshot(experiment: str, decision: str, metrics: tuple[MetricResult, ...], **changes: object) -> Snapshot:
    """One look at an ended experiment; `changes` replace fields."""
    variants = [arm.variant for arm in metrics[0].arms]
    n = metrics[0].arms[0].n
    base = Snapshot(
        schema_version=SCHEMA_VERSION,
        snapshot_id=f"{experiment}-1",
        experiment=experiment,
        title=experiment.replace("_", " ").capitalize(),
        hypothesis="Fewer steps let more people finish.",
        owner="Ada",
        unit="user",
        control="control",
        start=datetime(2026, 3, 1, tzinfo=UTC),
        end=datetime(2026, 3, 15, tzinfo=UTC),
        analysed_at=NOW,
        data_until=NOW - timedelta(hours=2),
        phase="ended",
        progress=1.0,
        plan=PlanRecord(alpha=0.05, power=0.8, minimum_effect=0.05, design="fixed"),
        exposed=n * len(variants) + 12,
        arms=tuple(
            Arm(
                variant=name,
                is_control=name == "control",
                planned_share=1 / len(variants),
                exposed=n + 12 * (name == "control"),
                analysed=n,
            )
            for name in variants
        ),
        exclusions=(Exclusion(reason="several_variants", units=12),),
        health=(
            HealthCheck(
                name="sample_ratio",
                state="pass",
                blocks=False,
                statistic=0.2,
                p_value=0.65,
                message="The split is as planned.",
            ),
        ),
        decision=DecisionRecord(
            decision=decision, treatment="new", headline="The headline.", reasons=("First reason.", "Second reason.")
        ),
        metrics=metrics,
        definition_hashes={"experiment": "ab" * 32},
        versions={"rampwise": "0.1.0"},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def winner() -> Snapshot:
    """Ship."""
    return snapshot(
        "shorter_checkout",
        "ship",
        (
            metric("orders", "success", (0.12, 0.134), ("better",)),
            metric("revenue", "success", (24.1, 25.0), ("no_clear_change",), kind="mean", unit_label="€", n=20_000),
            metric("unsubscribes", "guardrail", (0.02, 0.0201), ("not_yet_proven_safe",), better="lower"),
        ),
    )


def broken() -> Snapshot:
    """Do not trust."""
    return snapshot(
        "broken_split",
        "do_not_trust",
        (metric("orders", "success", (0.12, 0.15), (None,)),),
        health=(
            HealthCheck(
                name="sample_ratio",
                state="fail",
                blocks=True,
                statistic=90.0,
                p_value=2e-21,
                message="The split is 53% to 47% where 50% to 50% was planned: do not read the effects.",
            ),
        ),
    )


def running() -> Snapshot:
    """Keep running: effects withheld."""
    return snapshot(
        "new_search",
        "keep_running",
        (metric("orders", "success", (0.12, 0.123, 0.119), (None, None)),),
        phase="running",
        progress=0.42,
        end=NOW + timedelta(days=12),
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Make a workspace that holds the given snapshots, and return its root."""

    def make(*snapshots: Snapshot) -> Path:
        workspace = create_workspace(tmp_path / "workspace")
        if snapshots:
            with State(workspace.state_path) as state:
                for each in snapshots:
                    state.save(each, actor=local_actor())
        return workspace.root

    return make


@pytest.fixture
def made() -> dict[str, Snapshot]:
    """Three looks by decision."""
    return {each.decision.decision: each for each in (winner(), broken(), running())}


@pytest.fixture(autouse=True)
def _main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page becomes `__main__` while it runs; left there, processes that later tests spawn would run it again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def _on_this_machine() -> Iterator[None]:
    """Pages are shown as `rampwise dashboard` serves them: on this machine only."""
    set_option("server.address", server.LOOPBACK)
    yield
    set_option("server.address", None)


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Run a page of the dashboard on a workspace, as its address would."""

    def make(root: Path, page: str = "", **query: str) -> AppTest:
        monkeypatch.setenv("RAMPWISE_WORKSPACE", str(root))
        test = AppTest.from_file(str(server.MAIN), default_timeout=60)
        if page:
            # AppTest switches to pages that are files; ours are functions, known by the hash of their address.
            test._page_hash = calc_hash(page)
        for name, value in query.items():
            test.query_params[name] = value
        return test.run()

    return make


@pytest.fixture
def shown() -> Callable[[AppTest], str]:
    """The HTML of all panels on a page, in their order."""

    def read(test: AppTest) -> str:
        return "\n".join(json.loads(each.proto.json)["html"] for each in test.get("bidi_component"))

    return read
