"""Attributes of the first exposure: segments, and covariates that are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.analysis.assignments import Assignments
from pipelines.analysis.conditions import attribute_text
from pipelines.analysis.exact_sums import Integers
from pipelines.analysis.source_rows import ASSIGNMENTS
from pipelines.engine.engines import Engine
from stats.status import FloatArray

MOST_VALUES = 20
OTHER, MISSING = "other", ""
EXPOSURE_ROWS = {
    "experiment": "string",
    "unit_id": "int64",
    "exposed_at": "timestamp",
    "attributes": "string",
    "batch_id": "int32",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """One attribute of the first exposure, as codes.

    Attributes
    ----------
    attribute
        Its name.
    values
        The most frequent values among analysed units, most frequent first, equals by name; then `other` if there are
        more. The value of units without the attribute is empty.
    rest
        Whether the last value stands for all that are not among the most frequent.
    code
        Place of each unit's value among `values`, shape ``(units,)``.
    """

    attribute: str
    values: tuple[str, ...]
    rest: bool
    code: Integers


def exposure_attributes(
    engine: Engine,
    assignments: Assignments,
    experiment: str,
    names: Sequence[str],
    *,
    batches: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """Text of attributes at each unit's first exposure, by name: Arrow arrays in the order of the units' keys.

    Of several exposures at the same moment the first text by alphabet counts.
    """
    if not names:
        return {}
    name = "unit_exposures" if assignments.identified else "exposure_rows"
    exposures = ibis.table(EXPOSURE_ROWS, name=name).filter(lambda t: t.experiment == experiment)
    if batches is not None:
        exposures = exposures.filter(exposures.batch_id.isin(list(batches)))
    units = ibis.table(ASSIGNMENTS, name="assignments")
    first = exposures.join(units, [exposures.unit_id == units.unit_id, exposures.exposed_at == units.exposed_at])
    chosen = {f"a{place}": attribute_text(first.attributes, name) for place, name in enumerate(names)}
    table: Any = engine.read(first.select(unit_key=units.unit_key, **chosen)).read_all()
    key = np.asarray(table["unit_key"].to_numpy(), np.int64)
    found = {}
    for place, name in enumerate(names):
        found[name] = _per_unit(key, table[f"a{place}"], assignments.units)
    return found


def _per_unit(key: Integers, texts: Any, units: int) -> Any:  # noqa: ANN401 - pyarrow has no types
    """One text per unit: of several the first by alphabet."""
    encoded = pc.dictionary_encode(texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    names = np.asarray(encoded.dictionary.to_pylist(), object)
    rank = np.empty(len(names) + 1, np.int64)
    rank[np.argsort(names, kind="stable") if len(names) else []] = np.arange(len(names))
    rank[-1] = len(names)  # none comes last
    codes = rank[np.asarray(pc.fill_null(encoded.indices, len(names)).to_numpy(zero_copy_only=False), np.int64)]
    dense = np.full(units, len(names), np.int64)
    if key.size and np.bincount(key).max() > 1:
        np.minimum.at(dense, key, codes)
    else:
        dense[key] = codes
    ordered = pa.array([*sorted(names.tolist()), None], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(dense, pa.int32()), ordered)


def segment(attribute: str, texts: Any, assignments: Assignments) -> Segment:  # noqa: ANN401 - pyarrow has no types
    """Codes of the 20 most frequent values and of the others."""
    names = [MISSING if name is None else name for name in texts.dictionary.to_pylist()]
    raw = np.asarray(texts.indices.to_numpy(zero_copy_only=False), np.int64)
    # No attribute, the last, and an empty text are one value: both have the empty name.
    raw = np.where(raw == len(names) - 1, names.index(MISSING), raw)
    units = np.bincount(raw[assignments.analysed], minlength=len(names))
    ranked = sorted((place for place in range(len(names)) if units[place]), key=lambda p: (-units[p], names[p]))
    kept = ranked[:MOST_VALUES]
    place = np.full(len(names), len(kept), np.int64)
    place[kept] = np.arange(len(kept))
    more = len(ranked) > len(kept)
    values = (*(names[each] for each in kept), *((OTHER,) if more else ()))
    # Units that are left out may have values that no analysed unit has; they are in no cell.
    return Segment(
        attribute=attribute,
        values=values or (MISSING,),
        rest=more,
        code=np.minimum(place[raw], max(len(values) - 1, 0)),
    )


def numbers(texts: Any) -> FloatArray:  # noqa: ANN401 - pyarrow has no types
    """Texts of units as numbers; NaN where there is none."""

    def number(text: str | None) -> float:
        try:
            value = float(text) if text is not None else np.nan
        except ValueError:
            return float("nan")
        return value if np.isfinite(value) else float("nan")

    values = np.array([number(text) for text in texts.dictionary.to_pylist()], np.float64)
    return np.asarray(values[np.asarray(texts.indices.to_numpy(zero_copy_only=False), np.int64)], np.float64)
