"""What `rampwise power` was told, read; and how it refuses: the option, what it said, and the reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from app.commands.session import WRONG_USAGE, say

if TYPE_CHECKING:
    from app.planning.question import Question

# Where a refusal's field stands on the command line.
_OPTIONS = {"end": "--days", "kind": "--baseline", "even_looks": "--looks"}


def option_of(field: str, question: Question) -> str:
    """The option that a field of the question comes from."""
    if field == "effect":
        return "--effect" if question.goal == "improve" else "--margin"
    return _OPTIONS.get(field, "--" + field.replace("_", "-"))


def told_as(field: str, question: Question) -> object:
    """What that option said."""
    value = getattr(question, field, None)
    if field == "looks":
        value = question.even_looks if not question.looks else ",".join(f"{day:g}" for day in question.looks)
    if field == "daily":
        return ",".join(f"{units:g}" for units in question.daily)
    if field == "control_share" and question.shares:
        return ",".join(f"{share:g}" for share in question.shares)
    return f"{value:g}" if isinstance(value, float) else value


def refuse(option: str, value: object, reason: str) -> NoReturn:
    """Wrong usage: the option, what it said, and why that cannot be."""
    said = "" if value is None or (isinstance(value, str) and value == "nan") or value == () else f" {value}"
    say(f"Error: {option}{said}: {reason}")
    raise typer.Exit(WRONG_USAGE)


def parts(text: str) -> list[str]:
    """What stands between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them; NaN for what is none."""
    found = []
    for part in text.replace("_", "").split(","):
        try:
            found.append(float(part))
        except ValueError:
            found.append(math.nan)
    return tuple(found)


def shares_of(text: str | None, treatments: int) -> dict[str, Any]:
    """Control's share, or those of all arms; equal unless told."""
    if text is None:
        return {"treatments": treatments, "control_share": 1 / (treatments + 1) if treatments > 0 else 0.5}
    shares = numbers(text)
    return {"treatments": treatments, "control_share": shares[0], "shares": shares if len(shares) > 1 else ()}


def timing_of(looks: str | None, daily: str | None) -> dict[str, Any]:
    """New units per day, and a number of even looks or their days."""
    given: dict[str, Any] = {} if daily is None else {"daily": _all_numbers("--daily", daily)}
    return given if looks is None else given | looks_of(looks)


def _all_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers with commas between them; anything else is refused as it was written."""
    found = numbers(text)
    for part, each in zip(text.split(","), found, strict=True):
        if math.isnan(each):
            refuse(option, text, f"{part.strip()!r} is no number; write one, or several as in 1200,1100,1000.")
    return found


def looks_of(text: str) -> dict[str, Any]:
    """A number of even looks, or their days."""
    days = numbers(text)
    if len(days) > 1 or not (math.isfinite(days[0]) and days[0] == int(days[0])):
        return {"looks": days}
    return {"even_looks": int(days[0])}


def guardrails_of(text: str) -> int | tuple[tuple[str, float], ...]:
    """How many guardrails there are, or their names and margins."""
    if "=" not in text:
        found = numbers(text)[0]
        return int(found) if math.isfinite(found) and found == int(found) else -1
    pairs = [part.partition("=") for part in text.split(",")]
    return tuple((name.strip(), numbers(margin)[0]) for name, _, margin in pairs)
