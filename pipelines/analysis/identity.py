"""Anonymous units become known ones: who is taken for whom under a policy, and what that does to the exposed ids."""

from __future__ import annotations

from datetime import datetime

from pipelines.analysis.assignments import identify, in_utc
from pipelines.definitions.experiments import Experiment
from pipelines.engine.queries import read_sql
from pipelines.engine.warehouse import Warehouse
from pipelines.errors import PipelineError
from pipelines.store.breakdowns import IdentityRecord

__all__ = ["POLICIES", "NoIdentitiesError", "identify", "identity_record"]
POLICIES = ("strict", "first_touch", "last_touch")


class NoIdentitiesError(PipelineError):
    """An experiment maps identities and none was ever ingested.

    Attributes
    ----------
    experiment
        Its name.
    """

    def __init__(self, experiment: str) -> None:
        self.experiment = experiment
        super().__init__(
            f"{experiment} maps anonymous units to known ones, and no identities were ingested by the moment of this "
            "analysis. Load them with `rampwise ingest identities FILE`, or take `identity` out of the experiment."
        )


def identity_record(
    warehouse: Warehouse, experiment: Experiment, *, until: datetime, as_of: datetime | None = None
) -> IdentityRecord | None:
    """The fan-out of the map, and what each policy does to the experiment's exposed ids; None without a policy.

    Leaves `identified_units` as the experiment's own policy makes it.

    Raises
    ------
    NoIdentitiesError
        If the map is empty.
    """
    policy = experiment.identity
    if policy is None:
        return None
    (fan_out,) = warehouse.rows(read_sql("identity_fan_out"), _moments(until, as_of))
    if not fan_out["anonymous"]:
        raise NoIdentitiesError(experiment.name)
    left_out: dict[str, int] = {}
    merged = 0
    for each in (*(other for other in POLICIES if other != policy), policy):
        identify(warehouse, each, until=until, as_of=as_of)
        (found,) = warehouse.rows(read_sql("identity_exposed"), {"experiment": experiment.name, **_as_of(as_of)})
        left_out[each] = found["ambiguous"]
        merged = found["merged"]
    return IdentityRecord(policy=policy, merged=merged, left_out={each: left_out[each] for each in POLICIES}, **fan_out)


def _moments(until: datetime, as_of: datetime | None) -> dict[str, object]:
    return {"until": in_utc(until), **_as_of(as_of)}


def _as_of(as_of: datetime | None) -> dict[str, object]:
    return {"as_of": None if as_of is None else in_utc(as_of)}
