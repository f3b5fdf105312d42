"""Exposures and conversions of an application that evaluates flags with an OpenFeature SDK."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from openfeature.flag_evaluation import FlagEvaluationDetails, FlagValueType, Reason
from openfeature.hook import Hook, HookContext, HookHints

NOT_COMPARED = frozenset({"ineligible", "early_adopter"})
"""Variants of units that no comparison may use; their exposures are not logged."""

_log = logging.getLogger("rampwise.client")


class Sink(Protocol):
    """Takes rows without making anybody wait: a :class:`pipelines.client.spool.Spool`, or what a test keeps."""

    def offer(self, row: Mapping[str, object]) -> bool:
        """Take a row; whether there was room."""


class ExposureHook(Hook):
    """Logs an exposure for every evaluation of a flag that rampwise published.

    Add it to the client or the API: ``api.add_hooks([ExposureHook(spool)])``. What the application gets from the
    evaluation is never changed, and no error of the sink reaches it.

    Parameters
    ----------
    sink
        Where exposures go.

    Attributes
    ----------
    logged, dropped, failed
        Exposures that the sink took, that it had no room for, and on which it raised.

    Notes
    -----
    Logged are evaluations that a rule decided and whose unit can be compared: treatments, control, and `off` for units
    that are eligible but not covered yet. The stage, the run and the revision are those of the file the flag was
    evaluated under, not those of the moment of logging.
    """

    def __init__(self, sink: Sink) -> None:
        self.logged = self.dropped = self.failed = 0
        self._sink = sink

    def finally_after(
        self, hook_context: HookContext, details: FlagEvaluationDetails[FlagValueType], hints: HookHints
    ) -> None:
        """Log the exposure of one evaluation."""
        del hints
        unit, metadata = hook_context.evaluation_context.targeting_key, details.flag_metadata
        if details.reason != Reason.TARGETING_MATCH or not unit or "experiment" not in metadata:
            return
        if details.variant is None or details.variant in NOT_COMPARED:
            return
        self.expose(unit, details.flag_key, details.variant, metadata)

    def expose(
        self, unit_key: str, flag_key: str, variant: str, metadata: Mapping[str, Any], *, at: datetime | None = None
    ) -> None:
        """Log an exposure explicitly, for code paths in which evaluating a flag is not yet seeing it.

        Parameters
        ----------
        unit_key
            The unit.
        flag_key, variant, metadata
            As the evaluation's details have them.
        at
            When the unit saw it (aware); now unless given.
        """
        row = {
            "experiment": metadata["experiment"],
            "unit_id": unit_key,
            "variant": variant,
            "exposed_at": (at or datetime.now(UTC)).isoformat(),
            "exposure_id": uuid.uuid4().hex,
            "flag": flag_key,
            **{name: metadata[name] for name in ("run", "stage", "revision") if name in metadata},
        }
        try:
            taken = self._sink.offer(row)
        except Exception:  # noqa: BLE001 - whatever the sink does, the application goes on
            self.failed += 1
            if self.failed == 1:
                _log.exception("An exposure could not be logged; further failures are only counted.")
            return
        self.logged += taken
        self.dropped += not taken


def track(
    sink: Sink,
    unit_key: str,
    event: str,
    *,
    value: float | None = None,
    at: datetime | None = None,
    event_id: str | None = None,
    **attributes: bool | float | str,
) -> bool:
    """Log a conversion, or anything else a unit did.

    Parameters
    ----------
    value
        A finite number, where the event has one.
    at
        When it happened (aware); now unless given.
    event_id
        An id of the event, where it has one: sending it twice then counts once. Made up unless given.
    attributes
        Kept beside the event, for filters.

    Returns
    -------
    bool
        Whether there was room.

    Raises
    ------
    ValueError
        If the unit or the event has no name, or the time no zone: such a row would be refused later, out of sight.
    """
    if not unit_key or not event:
        raise ValueError(f"An event needs a unit and a name; got {unit_key!r} and {event!r}.")
    if at is not None and at.tzinfo is None:
        raise ValueError(f"The time {at.isoformat()} has no zone; use datetime.now(UTC).")
    row: dict[str, object] = {
        **attributes,
        "unit_id": unit_key,
        "event": event,
        "occurred_at": (at or datetime.now(UTC)).isoformat(),
        "event_id": event_id or uuid.uuid4().hex,
    }
    if value is not None:
        row["value"] = value
    return sink.offer(row)
