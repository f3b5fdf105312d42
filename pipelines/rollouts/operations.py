"""The product owner's overview: what is live, what is stuck, and how well delivery works; from logs and snapshots.

It lies here and not beside `pipelines.reports.portfolio` because reports do not import rollouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pipelines.config import Workspace
from pipelines.definitions.loader import Definitions
from pipelines.formatting import date
from pipelines.rollouts.lifecycle import Happening, Line, Phase
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.overview import Overview, overviews
from pipelines.rollouts.stale import StaleFlag, stale_flags
from pipelines.store.snapshot import Snapshot
from stats.medians import Median, median_interval
from stats.moments import Moments
from stats.proportion_intervals import clopper_pearson

HOUR = timedelta(hours=1)
STUCK_AFTER = timedelta(hours=24)
"""How long after a stage's minimum time a rollout may wait before it is called stuck."""
STALE_DATA = timedelta(hours=36)
TAKEN_BACK = (Happening.ROLL_BACK, Happening.KILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A rollout that does not go on: since when it could, and what holds it."""

    rollout: str
    title: str
    owner: str
    since: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate:
    """Runs that were taken back among those that ended, with an exact interval; None without any."""

    failed: int
    ended: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhealthy:
    """An experiment with a problem: which check, whether it blocks, and its words."""

    experiment: str
    title: str
    owner: str
    check: str
    blocks: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """The product owner's overview.

    Attributes
    ----------
    live
        Rollouts under way.
    stuck, stale
        What waits for somebody: rollouts, and flags to remove.
    unhealthy
        Failed and warning checks of running experiments, the blocking first; data that got old among them.
    running
        How many experiments run, by their latest look.
    lead_hours
        From start to everybody having it, of completed runs.
    failures
        Change-failure rate.
    detect_hours
        From the beginning of a run to the decision to take it back, of runs that were taken back.
    restore_hours
        From that decision to nobody having it any more.
    """

    live: tuple[Overview, ...]
    stuck: tuple[Stuck, ...]
    stale: tuple[StaleFlag, ...]
    unhealthy: tuple[Unhealthy, ...]
    running: int
    lead_hours: Median
    failures: FailureRate
    detect_hours: Median
    restore_hours: Median

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "live": [each.as_dict() for each in self.live],
            "stuck": [{**asdict(each), "since": each.since.isoformat()} for each in self.stuck],
            "stale_flags": [each.as_dict() for each in self.stale],
            "unhealthy": [asdict(each) for each in self.unhealthy],
            "running_experiments": self.running,
            "lead_hours": asdict(self.lead_hours),
            "change_failures": asdict(self.failures),
            "detect_hours": asdict(self.detect_hours),
            "restore_hours": asdict(self.restore_hours),
        }


def operations(
    workspace: Workspace, definitions: Definitions, snapshots: Sequence[Snapshot], *, now: datetime
) -> Operations:
    """The overview at a moment.

    Parameters
    ----------
    snapshots
        The latest look at each experiment.
    now
        The present moment (aware).

    Notes
    -----
    A run is what lies between one start of a rollout and the next. The four measures are those of DevOps Research and
    Assessment (Forsgren, Humble and Kim 2018, "Accelerate", chapter 2), read from the log of rollouts: deployment
    tools outside of it are not in them.
    """
    found = overviews(workspace, definitions, now=now)
    with RolloutLog(workspace.state_path) as log:
        states = log.states()
        runs = [run for name in states for run in _runs(log.lines(name))]
    ended = [run for run in runs if run.completed is not None or run.taken_back is not None]
    back = [run for run in ended if run.taken_back is not None]
    return Operations(
        live=tuple(each for each in found if not each.state.over and each.state.phase is not Phase.DRAFT),
        stuck=tuple(_stuck(found, now)),
        stale=stale_flags(states, now=now),
        unhealthy=(*unhealthy(snapshots, now), *_never_analysed(definitions, snapshots, now)),
        running=sum(each.phase == "running" for each in snapshots),
        lead_hours=median_interval([run.lead for run in ended if run.lead is not None]),
        failures=_failures(len(back), len(ended)),
        detect_hours=median_interval([run.detect for run in back if run.detect is not None]),
        restore_hours=median_interval([run.restore for run in back if run.restore is not None]),
    )


@dataclass(slots=True, kw_only=True)
class _Run:
    armed: datetime
    begun: datetime | None = None
    completed: datetime | None = None
    taken_back: datetime | None = None
    restored: datetime | None = None

    @property
    def lead(self) -> float | None:
        return None if self.completed is None else (self.completed - self.armed) / HOUR

    @property
    def detect(self) -> float | None:
        if self.begun is None or self.taken_back is None:
            return None
        return (self.taken_back - self.begun) / HOUR

    @property
    def restore(self) -> float | None:
        if self.restored is None or self.taken_back is None:
            return None
        return (self.restored - self.taken_back) / HOUR


def _runs(lines: Sequence[Line]) -> list[_Run]:
    found: list[_Run] = []
    for line in lines:
        if line.happening is Happening.ARM:
            found.append(_Run(armed=line.at))
        if not found:
            continue
        run = found[-1]
        if line.happening is Happening.BEGIN:
            run.begun = line.at
        elif line.happening is Happening.SOAK:
            run.completed = line.at
        elif line.happening in TAKEN_BACK and run.begun is not None:
            run.taken_back = run.taken_back or line.at
            if line.happening is Happening.KILL:  # the flag changed before it was said, also in a slow roll-back
                run.restored = run.restored or line.at
        elif line.happening is Happening.ROLLED_BACK and run.taken_back is not None:
            run.restored = line.at
    return found


def _stuck(found: Sequence[Overview], now: datetime) -> list[Stuck]:
    """Rollouts that could have gone on long ago, the longest first."""
    rows = []
    for each in found:
        waits = each.due if each.state.phase is Phase.RUNNING else None
        if each.state.phase is Phase.PAUSED:
            waits = each.state.phase_since
        if waits is not None and now - waits > STUCK_AFTER:
            rows.append(
                Stuck(
                    rollout=each.name,
                    title=each.rollout.screen_title,
                    owner=each.rollout.owner,
                    since=waits,
                    reason=each.state.reason or each.state.phase.words,
                )
            )
    return sorted(rows, key=lambda row: row.since)


def unhealthy(snapshots: Sequence[Snapshot], now: datetime) -> list[Unhealthy]:
    """Problems of experiments that run, the blocking first; data that are old at `now` (aware) among them."""
    rows = []
    for each in snapshots:
        if each.phase != "running":
            continue
        about: Mapping[str, str] = {"experiment": each.experiment, "title": each.title, "owner": each.owner}
        rows += [
            Unhealthy(**about, check=check.name, blocks=check.blocks, message=check.message)
            for check in each.health
            if check.state != "pass"
        ]
        told_already = any(check.name == "data_stale" and check.state != "pass" for check in each.health)
        if not told_already and each.data_until is not None and now - each.data_until > STALE_DATA:
            hours = (now - each.data_until) / HOUR
            told = f"The newest data in the last look are {hours:,.0f} hours old: load new data, then analyse."
            rows.append(Unhealthy(**about, check="data_stale", blocks=False, message=told))
    return sorted(rows, key=lambda row: (not row.blocks, row.experiment, row.check))


def _never_analysed(definitions: Definitions, snapshots: Sequence[Snapshot], now: datetime) -> list[Unhealthy]:
    """Experiments that should have data by now and were never looked at: nothing says that they are healthy."""
    analysed = {each.experiment for each in snapshots}
    return [
        Unhealthy(
            experiment=name,
            title=each.screen_title,
            owner=each.owner,
            check="data_stale",
            blocks=False,
            message=f"It should have run since {date(each.start)} and was never analysed.",
        )
        for name, each in sorted(definitions.experiments.items())
        if name not in analysed and each.phase(now) == "running" and now - each.start > STALE_DATA
    ]


def _failures(failed: int, ended: int) -> FailureRate:
    if not ended:
        return FailureRate(failed=0, ended=0, value=None, low=None, high=None)
    interval = clopper_pearson(Moments.from_counts(failed, ended))
    return FailureRate(
        failed=failed, ended=ended, value=failed / ended, low=float(interval.low), high=float(interval.high)
    )
