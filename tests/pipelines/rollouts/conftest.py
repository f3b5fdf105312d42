"""A release with made-up traffic: units that evaluate the published flag, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.access.roles import Actor, Role
from pipelines.config import Workspace, create_workspace
from pipelines.definitions.loader import Definitions, load_definitions
from pipelines.engine.warehouse import Warehouse, open_warehouse
from pipelines.ingest import ingest_events, ingest_exposures
from pipelines.rollouts.control import arm, flags_folder, frozen, publish_flags, step_of
from pipelines.rollouts.flags.golden import planned_variant
from pipelines.rollouts.flags.planned import flag_plan
from pipelines.rollouts.flags.publish import published
from pipelines.rollouts.lifecycle import RolloutState
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.tick import Tick, tick

START = datetime(2026, 5, 4, 8, tzinfo=UTC)
EDITOR = Actor(name="local:tester", role=Role.EDITOR)
METRICS = {
    "errors": 'kind = "proportion"\nevent = "error"\nbetter = "lower"\nlabel = "Errors"\n',
    "conversion": 'kind = "proportion"\nevent = "purchase"\nbetter = "higher"\nlabel = "Conversion"\n',
    "revenue": 'kind = "mean"\nevent = "purchase"\nbetter = "higher"\nlabel = "Revenue"\n',
}
ROLLOUT = """
strategy = "canary"
flag = "new_search"
soak_hours = 2.0
{more}
[[stages]]
coverage = 0.05
minimum_hours = 2
minimum_units = 50
[[stages]]
coverage = 0.25
minimum_hours = 2
[[stages]]
coverage = 0.5
minimum_hours = 2

[[guardrails]]
metric = "errors"
tolerance = 0.5
"""


@dataclass
class Release:
    """A workspace with one rollout, its clock, and its users."""

    workspace: Workspace
    name: str = "search"
    now: datetime = START
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    rows: int = 0

    @property
    def definitions(self) -> Definitions:
        return load_definitions(self.workspace.root)

    @property
    def state(self) -> RolloutState:
        with RolloutLog(self.workspace.state_path) as log:
            return log.state(self.name)

    @property
    def happenings(self) -> list[str]:
        with RolloutLog(self.workspace.state_path) as log:
            return [str(line.happening) for line in log.lines(self.name)]

    def define(self, text: str) -> None:
        folder = self.workspace.root / "rollouts"
        folder.mkdir(exist_ok=True)
        (folder / f"{self.name}.toml").write_text(text, encoding="utf-8")

    def text(self, more: str) -> str:
        """The canary's definition with more keys."""
        return ROLLOUT.format(more=more)

    def start(self, *, relaunch: bool = False) -> RolloutState:
        with RolloutLog(self.workspace.state_path) as log:
            found = self.definitions
            rollout, metrics = found.rollout(self.name), found.metrics
            return arm(log, rollout, actor=EDITOR, at=self.now, metrics=metrics, relaunch=relaunch)

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        with open_warehouse(self.workspace.warehouse_path) as warehouse:
            yield warehouse

    def tick(self, *, opener: Callable[[], object] | None = None, now: datetime | None = None) -> Tick:
        return tick(
            self.workspace,
            self.definitions,
            self.name,
            opener=opener or self.warehouse,  # type: ignore[arg-type]
            actor=EDITOR,
            now=now or self.now,
        )

    def variants(self) -> Callable[[str], str]:
        """What the published file gives units, by arithmetic on the state the file was made from."""
        file, state = published(flags_folder(self.workspace)), self.state
        assert file is not None
        if file.flags[frozen(state).flag_key].targeting is None:
            return lambda _: "off"
        plan = flag_plan(frozen(state), step_of(state))
        return lambda unit: planned_variant(plan, unit)

    def hours(
        self,
        hours: float,
        *,
        units: int = 2_000,
        rates: Mapping[str, float] | float = 0.02,
        event: str = "error",
        value: float | None = None,
        lost: frozenset[str] = frozenset(),
        silent: bool = False,
    ) -> None:
        """Let time pass: units come, are exposed, and some have the event.

        `rates` by variant, or for all; variants in `lost` send no exposures; `silent`: nothing is sent at all.
        """
        start, self.now = self.now, self.now + timedelta(hours=hours)
        if silent:
            return
        run, stage = self.state.run, self.state.stage
        draws = self.rng.integers(0, 50_000, units)
        exposures, events = [], []
        variant_of = self.variants()
        for position, draw in enumerate(draws):
            unit = f"u{draw}"
            variant = variant_of(unit)
            at = start + timedelta(hours=hours) * float((position + 0.5) / units)
            rate = rates if isinstance(rates, float) else rates.get(variant, rates["off"])
            if variant not in lost and variant != "ineligible":
                exposures.append((unit, variant, at))
            if self.rng.random() < rate and at + timedelta(seconds=30) < self.now:
                events.append((unit, at + timedelta(seconds=30)))
        with self.warehouse() as warehouse:
            known = self.definitions.variants
            if exposures:
                ingest_exposures(warehouse, self.exposure_table(exposures, run, stage), known=known)
            if events:
                ingest_events(warehouse, self.event_table(events, event, value))

    def exposure_table(self, rows: list[tuple[str, str, datetime]], run: int, stage: int | None) -> pa.Table:
        self.rows += 1
        count = len(rows)
        return pa.table(
            {
                "experiment": [self.name] * count,
                "unit_id": [row[0] for row in rows],
                "variant": [row[1] for row in rows],
                "exposed_at": [row[2] for row in rows],
                "exposure_id": [f"x{self.rows}-{place}" for place in range(count)],
                "run": [str(run)] * count,
                "stage": [str(-1 if stage is None else stage)] * count,
            }
        )

    def event_table(self, rows: list[tuple[str, datetime]], event: str, value: float | None) -> pa.Table:
        count = len(rows)
        return pa.table(
            {
                "unit_id": [row[0] for row in rows],
                "event": [event] * count,
                "occurred_at": [row[1] for row in rows],
                "event_id": [f"e{self.rows}-{place}" for place in range(count)],
                "value": pa.array([value] * count, pa.float64()),
            }
        )

    def publish(self) -> None:
        with RolloutLog(self.workspace.state_path) as log:
            publish_flags(self.workspace, log)


@pytest.fixture
def editor() -> Actor:
    """Somebody who may conduct rollouts."""
    return EDITOR


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A canary of 5, 25 and 50 %, with one guardrail, not started."""
    workspace = create_workspace(tmp_path / "ws")
    for name, text in METRICS.items():
        (workspace.metrics_dir / f"{name}.toml").write_text(text, encoding="utf-8")
    found = Release(workspace=workspace)
    found.define(found.text(""))
    return found
