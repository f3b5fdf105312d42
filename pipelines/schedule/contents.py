"""What an edition of a report holds: the looks, what was shown before, and what a digest begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from pipelines.config import Settings, Workspace
from pipelines.definitions.loader import Definitions
from pipelines.definitions.reports import ReportFormat
from pipelines.formatting import times_in
from pipelines.reports.compose import compose, experiment_url
from pipelines.reports.digest import Head
from pipelines.reports.rendered import RenderedReport
from pipelines.schedule.editions import Edition, over_since
from pipelines.schedule.slots import slots_before
from pipelines.store.human_decisions import HumanDecision, human_decisions
from pipelines.store.snapshot import Snapshot
from pipelines.store.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A report that is ready, and the experiments whose looks it shows."""

    report: RenderedReport
    experiments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where reports come from.

    Attributes
    ----------
    workspace, definitions, state
        Releases, definitions, looks and decisions.
    now
        The present moment (aware).
    """

    workspace: Workspace
    definitions: Definitions
    state: State
    now: datetime

    def content(
        self, edition: Edition, *, formats: Sequence[ReportFormat] | None = None, with_charts: bool = False
    ) -> Content:
        """Render an edition: with the latest looks, or those of its own moment where missed slots are made up.

        Parameters
        ----------
        formats
            Which files it holds; those of its schedule where omitted.
        with_charts
            Whether its mail gets pictures.
        """
        schedule = edition.schedule
        decisions = human_decisions(self.state.path)
        if schedule.catch_up == "all":
            decisions = tuple(each for each in decisions if each.at <= edition.slot)
        decided = {each.experiment: each for each in decisions}
        since = self._since(edition)
        names = self._names(edition, since, decided)
        looks = {name: self._look(edition, name) for name in names}
        shown = tuple(look for look in looks.values() if look is not None)
        url = Settings.load(self.workspace).public_url
        with times_in(ZoneInfo(schedule.timezone)):
            head = self._head(edition, names, shown, decisions, since=since, url=url)
            report = compose(
                schedule.screen_title,
                () if schedule.kind == "owner_digest" else shown,
                name=schedule.name,
                before=self._before(edition, names),
                description=schedule.description,
                missing=tuple(name for name, look in looks.items() if look is None),
                # The planned end of an experiment that was decided early is still to come, or there is none.
                slot=min(edition.slot, self.now),
                rendered_at=self.now,
                public_url=url,
                decided=decided,
                head=head,
                prefix="Final result: " if edition.experiment else "",
                formats=schedule.formats if formats is None else formats,
                with_charts=with_charts,
            )
        return Content(report=report, experiments=tuple(each.experiment for each in shown))

    def _since(self, edition: Edition) -> datetime:
        """When the report before was due; the slot before where there was none."""
        schedule, before = edition.schedule, edition.slot
        if schedule.cron is not None:
            before = next(islice(slots_before(schedule.cron, schedule.timezone, edition.slot), 1, None), edition.slot)
        # Since the last delivery, not the last slot: an experiment that ended in a missed week is still reported.
        return min(edition.last or before, before)

    def _names(self, edition: Edition, since: datetime, decided: dict[str, HumanDecision]) -> tuple[str, ...]:
        if edition.experiment:
            return (edition.experiment,)
        experiments = self.definitions.experiments
        names = edition.schedule.covered(experiments, since=since, until=edition.slot)
        if edition.schedule.kind == "final":  # by hand: all that are over
            over = [name for name in names if over_since(self.state, experiments[name], decided, now=self.now)]
            return tuple(over)
        return names

    def _look(self, edition: Edition, name: str) -> Snapshot | None:
        past = edition.schedule.catch_up == "all"
        return self.state.shown_at(name, edition.slot)[0] if past else self.state.latest(name)

    def _before(self, edition: Edition, names: Iterable[str]) -> dict[str, Snapshot]:
        """The looks that the report before showed."""
        if edition.last is None:
            return {}
        looks = {name: self.state.shown_at(name, edition.last)[0] for name in names}
        return {name: look for name, look in looks.items() if look is not None}

    def _head(
        self,
        edition: Edition,
        names: Sequence[str],
        shown: Sequence[Snapshot],
        decisions: Sequence[HumanDecision],
        *,
        since: datetime,
        url: str | None,
    ) -> Head | None:
        schedule = edition.schedule
        if schedule.kind == "manager_digest":
            from pipelines.reports.manager_digest import manager_head

            every = [name for name, _ in self.state.latest_ids()]
            return manager_head(
                schedule.screen_title,
                [look for name in every if (look := self._look(edition, name)) is not None],
                self.definitions.metrics,
                decisions,
                covered=names,
                before=tuple(self._before(edition, every).values()),
                since=since,
                url=lambda name: experiment_url(name, url),
            )
        if schedule.kind == "owner_digest":
            from pipelines.schedule.owner_digest import owner_head

            return owner_head(
                schedule.screen_title,
                self.workspace,
                self.definitions,
                shown,
                before=tuple(self._before(edition, names).values()),
                since=since,
                now=self.now,
                public_url=url,
            )
        return None
