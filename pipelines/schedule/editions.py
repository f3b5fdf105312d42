"""Which editions of a report are due: one per slot, or one per experiment that is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from pipelines.definitions.experiments import Experiment
from pipelines.definitions.loader import Definitions
from pipelines.definitions.reports import ReportSchedule
from pipelines.schedule.slots import slots_before
from pipelines.store.human_decisions import ENDING, HumanDecision, latest_human_decisions
from pipelines.store.state import DeliveryRecord, State
from stats.verdicts import Decision

FIRST_REACH = timedelta(days=7)
"""How far back the very first slot of a report may lie."""
LATE = timedelta(hours=1)
"""How late a slot may be where missed ones are skipped."""
BY_HAND = "by_hand"
"""What follows the report's name where it was sent by hand: that neither takes nor fills a slot."""
FINAL = "final"
"""What follows it, with the experiment's name, where it is an experiment's final report."""
MOST_SLOTS = 60
"""How many missed slots are made up for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What goes out once.

    Attributes
    ----------
    schedule
        The report.
    carried, slot
        What the ledger of deliveries calls it: the report's name (with what follows it) and the moment it was due.
    stem
        Name of its files without suffix.
    last
        Slot of the edition before; None where there was none.
    experiment
        Whose final report it is; empty for any other.
    """

    schedule: ReportSchedule
    carried: str
    slot: datetime
    stem: str
    last: datetime | None
    experiment: str = ""


def due_slots(schedule: ReportSchedule, delivered: datetime | None, *, now: datetime) -> tuple[datetime, ...]:
    """The slots to deliver now, oldest first; none of a final report, which has no slots.

    Parameters
    ----------
    schedule
        The report.
    delivered
        Its latest delivered slot; None if it never was.
    now
        The present moment (aware).

    Notes
    -----
    Slots that were missed are made up for as `catch_up` says: `latest` brings the latest only, since a report shows
    the state of the day it is rendered on; `all` brings every one as of its own moment, at most `MOST_SLOTS`; `skip`
    brings none that is more than an hour late. A report that was never delivered starts with its latest slot if that
    is at most a week old, and waits for the next one otherwise: a new schedule brings no report of last month.
    """
    if schedule.cron is None:
        return ()
    reach = LATE if schedule.catch_up == "skip" else FIRST_REACH if delivered is None else None
    most = MOST_SLOTS if schedule.catch_up == "all" and delivered is not None else 1
    found = []
    for slot in islice(slots_before(schedule.cron, schedule.timezone, now), most):
        if (delivered is not None and slot <= delivered) or (reach is not None and now - slot > reach):
            break
        found.append(slot)
    return tuple(reversed(found))


def due_editions(
    state: State, definitions: Definitions, schedule: ReportSchedule, *, now: datetime
) -> tuple[Edition, ...]:
    """The editions to deliver now, in order.

    Notes
    -----
    A final report is due once per experiment and planned end: when the end has passed and a look was taken after it,
    or when somebody has decided (ship, roll back, inconclusive), which makes it the only one even if the end is moved
    afterwards. A new schedule reaches `FIRST_REACH` back: it brings no final reports of last year.
    """
    if schedule.kind == "final":
        return _due_finals(state, definitions, schedule, now=now)
    last, found = last_slot(state, schedule.name), []
    for slot in due_slots(schedule, last, now=now):
        stem = f"{schedule.name}_{slot:%Y-%m-%dT%H%MZ}"
        found.append(Edition(schedule=schedule, carried=schedule.name, slot=slot, stem=stem, last=last))
        last = slot
    return tuple(found)


def edition_by_hand(state: State, schedule: ReportSchedule, *, now: datetime) -> Edition:
    """The edition of this moment, whether or not one is due."""
    slot = now.astimezone(UTC)
    return Edition(
        schedule=schedule,
        carried=f"{schedule.name}/{BY_HAND}",
        slot=slot,
        stem=f"{schedule.name}_{slot:%Y-%m-%dT%H%M%SZ}",
        last=last_slot(state, schedule.name),
    )


def last_slot(state: State, report: str) -> datetime | None:
    """The latest delivered slot of a report; None if it never was."""
    return max((each.slot for each in state.deliveries(report) if each.finished_at is not None), default=None)


def over_since(
    state: State, experiment: Experiment, decisions: Mapping[str, HumanDecision], *, now: datetime
) -> datetime | None:
    """Since when an experiment is over: looked at after its planned end, or decided; None while it is not."""
    decided = decisions.get(experiment.name)
    known = [at for _, at in state.history(experiment.name) if experiment.end <= at <= now][:1]
    if decided is not None and Decision(decided.decision) in ENDING and decided.at <= now:
        known.append(decided.at)
    return min(known, default=None)


def _last_told(
    done: Sequence[DeliveryRecord], definitions: Definitions, experiment: str, *, now: datetime
) -> datetime | None:
    """The latest slot of any report that was about an experiment."""
    about = {
        name
        for name, each in definitions.reports.items()
        if each.kind in ("experiments", "manager_digest") and (not each.experiments or experiment in each.experiments)
    }
    return max((each.slot for each in done if each.report in about and each.slot <= now), default=None)


def _due_finals(
    state: State, definitions: Definitions, schedule: ReportSchedule, *, now: datetime
) -> tuple[Edition, ...]:
    decisions = latest_human_decisions(state.path)
    done = [each for each in state.deliveries() if each.finished_at is not None]
    mine = [each for each in done if each.report.startswith(f"{schedule.name}/{FINAL}/")]
    floor = min([now, *(each.finished_at for each in mine if each.finished_at is not None)]) - FIRST_REACH
    found = []
    for name in schedule.covered(definitions.experiments, since=now, until=now):
        experiment, carried = definitions.experiments[name], f"{schedule.name}/{FINAL}/{name}"
        over = over_since(state, experiment, decisions, now=now)
        slots = {each.slot for each in mine if each.report == carried}
        decided = name in decisions and Decision(decisions[name].decision) in ENDING
        if over is None or over < floor or experiment.end in slots or (decided and slots):
            continue
        found.append(
            Edition(
                schedule=schedule,
                carried=carried,
                slot=experiment.end,
                stem=f"{schedule.name}_{name}_{min(experiment.end, now):%Y-%m-%d}",
                last=_last_told(done, definitions, name, now=now),
                experiment=name,
            )
        )
    return tuple(found)
