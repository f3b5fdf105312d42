"""Where numbers come from, in words: the data and the engine behind them, and the ends at which values were cut."""

from __future__ import annotations

from pipelines import formatting
from pipelines.store.breakdowns import CapRecord
from pipelines.store.snapshot import Snapshot


def method_facts(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """Where the numbers come from: names and values; empty where the snapshot does not keep it."""
    method = snapshot.method
    if method is None:
        return ()
    facts = [("Engine", method.engine), ("Data", "aggregated before" if method.source == "moments" else "events")]
    if method.as_of is not None:
        facts.append(("As of", formatting.time(method.as_of)))
    if method.watermark_batch is not None:
        at = "" if method.watermark_at is None else f", ingested {formatting.time(method.watermark_at)}"
        facts.append(("Last batch read", f"{method.watermark_batch}{at}"))
    if method.rows_read is not None:
        facts.append(("Rows read", formatting.count(method.rows_read)))
    if method.bytes_read is not None:
        facts.append(("Bytes read", f"{formatting.count(method.bytes_read)} ({method.bytes_read / 2**20:,.1f} MiB)"))
    return tuple(facts)


def cap_text(cap: CapRecord) -> str:
    """Where values are cut, in words: ``"cut above 250 (99 % quantile of the history)"``."""
    ends = []
    for word, end, quantile in (("below", cap.lower, cap.lower_quantile), ("above", cap.upper, cap.upper_quantile)):
        if end is not None:
            told = "" if quantile is None else f" ({formatting.short_percent(quantile)} quantile)"
            ends.append(f"{word} {end:,.6g}{told}")
    source = {"history": ", frozen from history", "moving": ", of this look's own units"}.get(cap.source, "")
    part = "" if cap.part == "value" else f"{cap.part} "
    units = "" if cap.units_cut is None else f"; {formatting.count(cap.units_cut)} units cut"
    return f"{part}cut {' and '.join(ends)}{source}{units}"
