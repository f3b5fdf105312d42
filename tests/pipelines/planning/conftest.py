"""A warehouse filled by hand, with two weeks before the experiment in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.engine.warehouse import Warehouse, open_warehouse

Exposure = tuple[int, str, datetime]
Event = tuple[int, str, datetime, float | None]


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Callable[[Sequence[Exposure], Sequence[Event]], Warehouse]]:
    """Open a warehouse that holds these exposures of `checkout` and these events."""
    with ExitStack() as stack:

        def fill(exposures: Sequence[Exposure], events: Sequence[Event]) -> Warehouse:
            warehouse = stack.enter_context(open_warehouse(tmp_path / "warehouse.duckdb"))
            run = warehouse.connection
            run.execute(
                "INSERT INTO batches VALUES (1, 'exposures', 'test', '', '', 0, 0, 0, 0, TIMESTAMP '2026-01-01', "
                "TIMESTAMP '2026-01-01')"
            )
            names = sorted({event[1] for event in events})
            run.register("given_exposures", _table(exposures, ("unit_id", "variant", "moment")))
            run.register("given_events", _table(events, ("unit_id", "event", "moment", "value")))
            run.register("given_names", _table(list(enumerate(names)), ("event_code", "event")))
            if exposures:
                run.execute(
                    "INSERT INTO exposure_rows SELECT row_number() OVER (), 'checkout', unit_id, variant, moment, "
                    "NULL, 1 FROM given_exposures"
                )
            if events:
                run.execute("INSERT INTO event_names SELECT event_code, event FROM given_names")
                run.execute(
                    "INSERT INTO event_rows SELECT row_number() OVER (), unit_id, event_code, moment, value, NULL, 1 "
                    "FROM given_events JOIN given_names USING (event)"
                )
            return warehouse

        yield fill


def _table(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> pa.Table:
    plain = [[value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row] for row in rows]
    columns = list(zip(*plain, strict=True)) if plain else [[] for _ in names]
    return pa.table({name: list(column) for name, column in zip(names, columns, strict=True)})
