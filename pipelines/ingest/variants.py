"""Which experiments and variants exist, and what to say about one that does not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingest.contract import Contract, as_utc

UNKNOWN = "unknown"
MOST_SPELLINGS = 1_000
"""So many different unknown names get a suggestion; a column of garbage would take for ever."""
MOST_LISTED = 10


def known_table(contract: Contract) -> pa.Table:
    """Every defined pair of experiment and variant, and the first moment at which its exposures are accepted (UTC)."""
    pairs = [(name, variant) for name, variants in contract.variants.items() for variant in sorted(variants)]
    earliest = [contract.earliest(name) for name, _ in pairs]
    return pa.table(
        {
            "experiment": pa.array([pair[0] for pair in pairs], pa.string()),
            "variant": pa.array([pair[1] for pair in pairs], pa.string()),
            "earliest": pa.array([None if at is None else as_utc(at) for at in earliest], pa.timestamp("us")),
        }
    )


def explain_unknown(chunk: pa.Table, known: Mapping[str, frozenset[str]]) -> pa.Table:
    """The chunk with `unknown` spelled out: what is not defined, and the nearest name that is."""
    mask = pc.fill_null(pc.equal(chunk["reason"], UNKNOWN), fill_value=False)
    rows = chunk.select(["experiment", "variant"]).filter(mask)
    if not len(rows):
        return chunk
    pairs = list(zip(rows["experiment"].to_pylist(), rows["variant"].to_pylist(), strict=True))
    reasons = {
        pair: _reason(*pair, known, suggest=place < MOST_SPELLINGS) for place, pair in enumerate(dict.fromkeys(pairs))
    }
    reason = chunk["reason"].combine_chunks()
    spelled = pa.array([reasons[pair] for pair in pairs], reason.type)
    return chunk.set_column(
        chunk.column_names.index("reason"), "reason", pc.replace_with_mask(reason, mask.combine_chunks(), spelled)
    )


def _reason(experiment: str, variant: str, known: Mapping[str, frozenset[str]], *, suggest: bool) -> str:
    if experiment not in known:
        return f"unknown_experiment|unknown experiment {experiment[:100]!r}" + _hint(
            experiment, known.keys(), suggest=suggest
        )
    return f"unknown_variant|unknown variant {variant[:100]!r} of {experiment}" + _hint(
        variant, known[experiment], suggest=suggest
    )


def _hint(name: str, valid: Iterable[str], *, suggest: bool) -> str:
    names = sorted(valid)
    if not names:
        return "; no experiment is defined"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if suggest else []
    if close:
        return f"; did you mean {close[0]!r}?"
    listed = ", ".join(names[:MOST_LISTED]) + (", …" if len(names) > MOST_LISTED else "")
    return f"; defined are {listed}"
