"""Errors of the statistics room: a misuse of a function, never a property of the data."""

from __future__ import annotations


class StatsError(ValueError):
    """Base of every error this room raises. What the *data* cannot answer is a `Status` instead."""


class OutOfRangeError(StatsError):
    """An option lies outside its range.

    Attributes
    ----------
    name, value, expected
        The option, what was given, and what is allowed in words.
    """

    def __init__(self, name: str, value: object, expected: str) -> None:
        self.name, self.value, self.expected = name, value, expected
        super().__init__(f"{name} is {value!r}; it must be {expected}.")


def check_probability(name: str, value: float) -> float:
    """Return `value` if it lies strictly between 0 and 1.

    Raises
    ------
    OutOfRangeError
        If it does not (NaN included).
    """
    if not 0.0 < value < 1.0:
        raise OutOfRangeError(name, value, "a probability strictly between 0 and 1")
    return float(value)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`.

    Raises
    ------
    OutOfRangeError
        If it is not.
    """
    if value not in choices:
        raise OutOfRangeError(name, value, "one of " + ", ".join(choices))
    return value
