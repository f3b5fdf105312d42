"""The product owner's digest: what is stuck and unhealthy, what is live, and what happened since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import quote

from pipelines import formatting
from pipelines.config import Workspace
from pipelines.definitions.loader import Definitions
from pipelines.reports import wording
from pipelines.reports.digest import Head, Line, Section, Tile, sections_csv
from pipelines.rollouts.lifecycle import Happening
from pipelines.rollouts.lifecycle import Line as LogLine
from pipelines.rollouts.log import RolloutLog
from pipelines.rollouts.operations import Operations, operations, unhealthy
from pipelines.schedule.owner_words import nothing_stuck, nothing_unhealthy, owner_tiles
from pipelines.store.snapshot import Snapshot

TOLD = {
    Happening.ARM: ("Started", ""),
    Happening.BEGIN: ("First stage", ""),
    Happening.ADVANCE: ("Next stage", ""),
    Happening.WARN: ("Warning", "caution"),
    Happening.PAUSE: ("Paused", "caution"),
    Happening.RESUME: ("Goes on", ""),
    Happening.ROLL_BACK: ("Taken back", "bad"),
    Happening.KILL: ("Switched off", "bad"),
    Happening.SOAK: ("Everybody has it", "good"),
    Happening.EXPIRE: ("Expired", "caution"),
}
"""What is told of the log, in words with a tone; the rest are steps in between."""


def owner_head(
    title: str,
    workspace: Workspace,
    definitions: Definitions,
    snapshots: Sequence[Snapshot],
    *,
    before: Sequence[Snapshot],
    since: datetime,
    now: datetime,
    public_url: str | None,
) -> Head:
    """What the digest begins with, and all it holds.

    Parameters
    ----------
    title
        Of the report.
    snapshots
        The latest look at each experiment whose health is told.
    before
        Their looks of the report before.
    since
        When the report before was due (aware).
    now
        The present moment (aware).
    public_url
        Where browsers reach the dashboard.
    """
    found = operations(workspace, definitions, snapshots, now=now)

    def url(name: str, page: str = "releases?rollout") -> str:
        return f"{public_url.rstrip('/')}/{page}={quote(name)}" if public_url else ""

    known = {(each.experiment, each.check) for each in unhealthy(before, since)}
    lines = _log_lines(workspace, since, now)
    done = sum(line.happening is Happening.SOAK for line in lines)
    completed = Tile(name="Completed", value=str(done), note=f"releases, since {formatting.date(since)}")
    sections = (
        _stuck(found, url),
        _unhealthy(found, known, lambda name: url(name, "experiment?experiment")),
        _live(found, url),
        _happened(lines, definitions, since, url),
        _stale(found, url),
    )
    return Head(
        subject=_subject(title, found),
        tiles=(*owner_tiles(found), completed),
        sections=sections,
        figures=found.as_dict(),
        csv=sections_csv(sections),
        snapshots=tuple(snapshots),
    )


def _subject(title: str, found: Operations) -> str:
    blocked = len({each.experiment for each in found.unhealthy if each.blocks})
    warned = len({each.experiment for each in found.unhealthy} - {e.experiment for e in found.unhealthy if e.blocks})
    told = [
        f"{count} {what}"
        for count, what in (
            (len(found.stuck), f"stuck ({found.stuck[0].title})" if len(found.stuck) == 1 else "stuck"),
            (blocked, "blocked by a health check"),
            (warned, "with a warning"),
            (len(found.stale), "stale flags" if len(found.stale) != 1 else "stale flag"),
        )
        if count
    ]
    if not told and not found.live and not found.running:
        return f"{title}: nothing is under way"
    return f"{title}: {', '.join(told) or 'all moving and healthy'}; {len(found.live)} live"


Linked = Callable[[str], str]


def _stuck(found: Operations, url: Linked) -> Section:
    return Section(
        key="stuck",
        title="Stuck",
        columns=("Release", "Since", "Why", "Owner"),
        lines=tuple(
            Line(
                cells=(each.title, formatting.time(each.since), each.reason, each.owner),
                tone="caution",
                url=url(each.rollout),
            )
            for each in found.stuck
        ),
        empty=nothing_stuck(found),
    )


def _unhealthy(found: Operations, known: set[tuple[str, str]], url: Linked) -> Section:
    lines = []
    for each in found.unhealthy:
        check = wording.name_in_words(each.check, wording.HEALTH_CHECKS)
        new = "" if (each.experiment, each.check) in known else "yes"
        cells = (each.title, f"{'⊘ Blocks' if each.blocks else '! Warning'}: {check}", each.message, new, each.owner)
        lines.append(Line(cells=cells, tone="bad" if each.blocks else "caution", url=url(each.experiment)))
    return Section(
        key="unhealthy",
        title="Health and data quality of running experiments",
        columns=("Experiment", "Check", "What was found", "New", "Owner"),
        lines=tuple(lines),
        empty=nothing_unhealthy(found),
    )


def _live(found: Operations, url: Linked) -> Section:
    lines = []
    for each in found.live:
        stage = "" if each.state.stage is None else f", stage {each.state.stage + 1} of {len(each.rollout.stages)}"
        has = formatting.percent(each.coverage, places=0)
        phase = f"{each.state.phase.words.capitalize()}{stage}"
        cells = (each.rollout.screen_title, phase, has, each.state.reason, each.rollout.owner)
        lines.append(Line(cells=cells, url=url(each.name)))
    return Section(
        key="live",
        title="Live",
        columns=("Release", "Stage", "Has it", "Waits for", "Owner"),
        lines=tuple(lines),
        empty="No release is under way.",
    )


def _log_lines(workspace: Workspace, since: datetime, now: datetime) -> list[LogLine]:
    """What the log of releases tells since the report before, the latest first."""
    with RolloutLog(workspace.state_path) as log:
        found = [line for name in log.states() for line in log.lines(name)]
    told = [line for line in found if since < line.at <= now and line.happening in TOLD]
    return sorted(told, key=lambda line: (line.at, line.sequence), reverse=True)


def _happened(found: Sequence[LogLine], definitions: Definitions, since: datetime, url: Linked) -> Section:
    lines = []
    for each in found:
        known = definitions.rollouts.get(each.rollout)
        word, tone = TOLD[each.happening]
        who = each.actor.partition(":")[2] or each.actor
        title = each.rollout if known is None else known.screen_title
        cells = (title, word, formatting.time(each.at), each.reason, who)
        lines.append(Line(cells=cells, tone=tone, url=url(each.rollout)))
    return Section(
        key="happened",
        title="Since the last report",
        columns=("Release", "What happened", "When", "Why", "Who"),
        lines=tuple(lines),
        empty=f"No release began, moved or ended since {formatting.time(since)}.",
    )


def _stale(found: Operations, url: Linked) -> Section:
    return Section(
        key="stale",
        title="Flags that can go",
        columns=("Flag", "Since", "What to do", "Owner"),
        lines=tuple(
            Line(cells=(each.flag, formatting.date(each.since), each.advice, each.owner), url=url(each.rollout))
            for each in found.stale
        ),
        empty="None has stood still for two weeks.",
    )
