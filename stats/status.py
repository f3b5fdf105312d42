"""What a number is worth: a status for every cell, instead of an exception or a made-up value."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
StatusArray: TypeAlias = npt.NDArray[np.int8]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


class Status(IntEnum):
    """Whether a cell holds an estimate, and why not where it does not.

    Ordered by severity, so that the status of a combination is the maximum of its parts
    (`numpy.maximum`). `label` is the word used in JSON and on screen.
    """

    OK = 0
    UNBOUNDED = 1
    """The estimate stands, at least one end of its interval does not (Fieller's unbounded cases)."""
    UNDEFINED_RELATIVE = 2
    """The difference stands, the relative lift does not: the control mean is too close to zero."""
    ZERO_VARIANCE = 3
    """All values are the same: a difference can be stated, its uncertainty cannot."""
    INSUFFICIENT_DATA = 4
    """Fewer units than the method needs."""
    PRECISION_LOSS = 5
    """The sums have cancelled: too few correct digits are left to show."""
    IMPOSSIBLE_ARM = 6
    """Units were seen in an arm that was planned to get none."""
    INVALID_INPUT = 7
    """Not a number, a negative count, a negative variance."""

    @property
    def label(self) -> str:
        """The word used in JSON and on screen, for example ``"insufficient_data"``."""
        return self.name.lower()


def worst(*statuses: npt.ArrayLike) -> StatusArray:
    """Cell by cell, the most severe of several statuses; they broadcast."""
    result = np.asarray(statuses[0], dtype=np.int8)
    for status in statuses[1:]:
        result = np.maximum(result, np.asarray(status, dtype=np.int8))
    return result


def where_status(condition: npt.ArrayLike, status: Status) -> StatusArray:
    """`status` where the condition holds, ``Status.OK`` elsewhere."""
    return np.where(np.asarray(condition, dtype=bool), np.int8(status), np.int8(Status.OK)).astype(np.int8)
