"""The context that an application evaluates its flags with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from openfeature.evaluation_context import EvaluationContext

from pipelines.client.bucketing import UNIT_ATTRIBUTE, unit_number

Attribute: TypeAlias = bool | int | float | str | datetime | Sequence["Attribute"] | Mapping[str, "Attribute"]


def unit_context(unit_key: str | None, **attributes: Attribute) -> EvaluationContext:
    """The context of one unit, with the number that rollouts need.

    Parameters
    ----------
    unit_key
        What identifies the unit, as it also stands in exposures and events. None or empty for a unit that is not known
        (yet): it is never enrolled, and gets what was there before.
    attributes
        Whatever targeting may ask for, for example ``country="DE"``.

    Examples
    --------
    >>> unit_context("user-1", country="DE").attributes
    {'country': 'DE', 'xp_u': 40672211}
    """
    if not unit_key:
        return EvaluationContext(None, dict(attributes))
    return EvaluationContext(unit_key, {**attributes, UNIT_ATTRIBUTE: unit_number(unit_key)})
