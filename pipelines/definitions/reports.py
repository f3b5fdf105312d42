"""Report schedules: what is in a report, about which experiments, when, in whose time zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.definitions.channels import Channel
from pipelines.definitions.definition import Definition, Name, refusal
from pipelines.definitions.experiments import Experiment

_SAMPLE = datetime(2024, 1, 1, tzinfo=UTC)


def _check_cron(expression: str) -> str:
    if len(expression.split()) != 5:
        raise PydanticCustomError(
            "cron",
            "must have five fields (minute, hour, day of month, month, day of week), for example "
            '"0 8 * * MON" for Mondays at 8',
        )
    try:
        next(CronSim(expression, _SAMPLE))
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        raise PydanticCustomError(
            "cron", "is not a cron expression: the {field} field is wrong", {"field": field}
        ) from error
    except StopIteration as error:
        raise PydanticCustomError("cron", "never comes true: no such date exists") from error
    return expression


def _check_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PydanticCustomError(
            "time_zone", "is not a time zone of the IANA database", {"choices": tuple(sorted(available_timezones()))}
        ) from error
    return name


AlertKind: TypeAlias = Literal[
    "sample_ratio_broken", "guardrail_harmed", "ready_to_decide", "data_stale", "exposures_stopped"
]
ReportKind: TypeAlias = Literal["experiments", "manager_digest", "owner_digest", "final"]
ReportFormat: TypeAlias = Literal["html", "markdown", "json", "csv", "pdf"]
CronExpression: TypeAlias = Annotated[str, AfterValidator(_check_cron)]
TimeZone: TypeAlias = Annotated[str, AfterValidator(_check_time_zone)]


class ReportSchedule(Definition):
    """A report that is rendered again and again, or once for each experiment that is over."""

    name: Name
    """The file's name without `.toml`."""
    title: str = ""
    """The name on screen."""
    description: str = ""
    """What the report is for, one sentence."""
    owner: str = ""
    """Who reads it, or who to ask."""
    kind: ReportKind = "experiments"
    """"experiments" shows each in full; "manager_digest" puts decisions needed, money, wins and losses first;
    "owner_digest" tells what is live, stuck and unhealthy, and how well delivery works; "final" is one report per
    experiment, once, when it is over: its planned end has passed and it was analysed after it, or somebody decided."""
    experiments: tuple[Name, ...] = Field(default=(), strict=False)
    """Names of experiments; where there are none, `scope` chooses."""
    scope: Literal["running", "all"] | None = None
    """Instead of names: "running" (the default) takes experiments that ran at some time since the previous slot, "all"
    every experiment that has started."""
    cron: CronExpression | None = None
    """When: five cron fields (minute, hour, day of month, month, day of week), for example "0 8 * * MON"; only a
    report of kind "final" has none."""
    timezone: TimeZone = "UTC"
    """Time zone of `cron`, a name of the IANA database such as "Europe/Berlin"; daylight saving is followed."""
    catch_up: Literal["latest", "all", "skip"] = "latest"
    """Of missed slots the latest, all (each as of its moment), or, with "skip", none that is over an hour late."""
    formats: Annotated[tuple[ReportFormat, ...], Field(min_length=1, strict=False)] = ("html",)
    """Files in the outbox; all but the page are attached to mails, too. "pdf" needs `pip install "rampwise[pdf]"`."""
    deliver: Annotated[tuple[Channel, ...], Field(strict=False)] = ()
    """Where it goes besides the outbox."""
    alerts: Annotated[tuple[AlertKind, ...], Field(strict=False)] = ()
    """What is told to the same channels at once, without waiting for a slot: once per experiment and occurrence."""
    stale_hours: Annotated[float, Field(gt=0, le=8760)] = 36.0
    """Hours without newer data, or without a new unit, after which `data_stale` and `exposures_stopped` are told."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.experiments and self.scope is not None:
            raise ValueError("scope cannot stand beside experiments: keep one of the two.")
        if self.kind == "final" and self.cron is not None:
            raise refusal("cron", "does not fit a final report: it is due when an experiment is over")
        if self.kind != "final" and self.cron is None:
            raise refusal("cron", 'is missing: when it is due, for example "0 8 * * MON" for Mondays at 8')
        if self.kind == "final" and self.scope is not None:
            raise refusal("scope", "does not fit a final report: it is about every experiment, or those it names")
        if self.kind in ("owner_digest", "final") and self.catch_up != "latest":
            why = {
                "owner_digest": "what is live is known for the present moment only",
                "final": "each goes out once, however late",
            }[self.kind]
            raise refusal("catch_up", f'must be "latest" for kind "{self.kind}": {why}')
        if self.alerts and not self.deliver:
            raise refusal("alerts", "need a channel: add [[deliver]]")
        return self

    @property
    def screen_title(self) -> str:
        """The name on screen."""
        return self.title or self.name.replace("_", " ")

    def covered(self, experiments: Mapping[str, Experiment], *, since: datetime, until: datetime) -> tuple[str, ...]:
        """Names of the experiments in the report of one slot, in order.

        Parameters
        ----------
        experiments
            All experiments of the workspace, by name.
        since, until
            The previous slot and this one (aware). A "running" experiment ran at some time in `(since, until]`, so
            that the report after an experiment's end still holds its final result.
        """
        if self.experiments:
            return self.experiments
        started = [experiment for experiment in experiments.values() if experiment.start <= until]
        if self.scope != "all" and self.kind != "final":
            started = [experiment for experiment in started if experiment.end > since]
        return tuple(sorted(experiment.name for experiment in started))
