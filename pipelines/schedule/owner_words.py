"""The product owner's numbers in words, the same on page, in reports and on the terminal."""

from __future__ import annotations

from pipelines import formatting
from pipelines.reports.digest import Tile
from pipelines.reports.portfolio_words import share_note, share_text
from pipelines.rollouts.operations import Operations
from stats.medians import Median


def owner_tiles(found: Operations) -> tuple[Tile, ...]:
    """What stands on top of the product owner's overview."""
    failures = found.failures
    return (
        Tile(name="Live", value=str(len(found.live)), note=f"releases under way, {len(found.stuck)} stuck"),
        Tile(name="Lead time", value=_hours(found.lead_hours), note=_median_note(found.lead_hours, "completed")),
        Tile(
            name="Change failures",
            value=share_text(failures.value),
            note=share_note(
                failures.failed, failures.ended, "releases that ended", low=failures.low, high=failures.high
            ),
        ),
        Tile(
            name="Time to detect",
            value=_hours(found.detect_hours),
            note=f"{_median_note(found.detect_hours, 'taken back')}; restored after {_hours(found.restore_hours)}",
        ),
    )


def nothing_stuck(found: Operations) -> str:
    """What is said where no release is stuck."""
    return (
        "Nothing: every release moved on within a day of when it could." if found.live else "No release is under way."
    )


def nothing_unhealthy(found: Operations) -> str:
    """What is said where no check of a running experiment failed: praise only where there was something to check."""
    if not found.running:
        return "No experiment is running."
    return "All checks of running experiments passed, and their data are fresh."


def _hours(found: Median) -> str:
    return "–" if found.value is None else _duration(found.value)


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{formatting.number(hours * 60, places=0)} min"
    return (
        f"{formatting.number(hours, places=1)} h" if hours < 48 else f"{formatting.number(hours / 24, places=1)} days"
    )


def _median_note(found: Median, what: str) -> str:
    if not found.n:
        return f"no release was {what} yet"
    if found.low is None or found.high is None:
        return f"median of {found.n} {what}; too few for a range"
    return f"median of {found.n} {what}; plausible {_duration(found.low)} to {_duration(found.high)}"
