"""How much the collector takes: sizes, and a rate per key."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the collector.

    Attributes
    ----------
    body_bytes, inflated_bytes
        Of a request as it is sent, and after its compression is undone.
    rows, row_bytes
        Rows of one batch, and bytes of one row.
    waiting_bytes
        Bytes that may wait for the disk; beyond them requests are refused until it catches up.
    requests
        Requests that are served at the same time.
    rows_per_second, burst_seconds
        What one key may send in the long run, and for how many seconds' worth it may be ahead.
    body_seconds
        Time a client has to send its body.
    seal_bytes, seal_seconds
        Size and age at which a segment is sealed.
    free_bytes
        Space that is left free on the disk: the databases need it too.
    """

    body_bytes: int = 1 * MIB
    inflated_bytes: int = 8 * MIB
    rows: int = 5_000
    row_bytes: int = 64 * KIB
    waiting_bytes: int = 64 * MIB
    requests: int = 1_000
    rows_per_second: float = 50_000.0
    burst_seconds: float = 2.0
    body_seconds: float = 30.0
    seal_bytes: int = 64 * MIB
    seal_seconds: float = 30.0
    free_bytes: int = 64 * MIB


class TokenBucket:
    """A rate with a burst: rows are paid for in tokens, which grow back at `rate` per second up to `burst`.

    A batch is taken while there is a token at all and may overdraw, so that one larger than the burst is slow rather
    than impossible; the debt is paid back before the next.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._tokens, self._at = rate, burst, burst, now

    def wait(self, *, now: float) -> float:
        """Seconds until something may be taken; 0 if it may be now."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate

    def take(self, rows: int) -> None:
        """Pay for rows; `wait` has said that it may be done."""
        self._tokens -= rows
