"""Accepted sources are kept, named by their content, so that the warehouse can be made again from them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from pipelines.definitions.mappings.mapping import Mapping as Definition
from pipelines.ingest.lines import is_gzip
from pipelines.ingest.sources import Source, kind_of

ENDINGS = {"parquet": ".parquet", "csv": ".csv", "json": ".jsonl"}


def keep(
    landed: Path,
    source: Source,
    *,
    content_hash: str,
    table: str,
    source_name: str,
    columns: Mapping[str, str],
    mapping: Definition | None = None,
) -> Path:
    """Copy a source to `landed/<table>/<hash><ending>`, with how it was read in `<hash>.reading.json` beside it.

    A frame is kept as Parquet. Each file appears whole or not at all; one that exists already stays as it is.
    """
    folder = landed / table
    folder.mkdir(parents=True, exist_ok=True)
    path = source.content if isinstance(source.content, Path) else None
    ending = ".parquet" if path is None else ENDINGS[kind_of(path)] + (".gz" if is_gzip(path) else "")
    target = folder / f"{content_hash}{ending}"
    if not target.exists():
        with _whole(target) as part:
            if path is None:
                pq.write_table(source.content, part)
            else:
                with path.open("rb") as file:
                    shutil.copyfileobj(file, part)
    note = folder / f"{content_hash}.reading.json"
    reading: dict[str, Any] = {"table": table, "source": source_name, "columns": dict(columns), "path": source.label}
    if mapping is not None:  # as it was then: a mapping may change later, and these rows were read through this one
        reading["mapping"] = mapping.model_dump(mode="json", exclude_defaults=True)
    readings = json.loads(note.read_text(encoding="utf-8")) if note.exists() else []
    if reading not in readings:
        with _whole(note) as part:
            part.write(json.dumps([*readings, reading], indent=2, sort_keys=True).encode())
    return target


@contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is complete and on disk."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", suffix=".part", delete=False) as part:
        try:
            yield part
            part.flush()
            os.fsync(part.fileno())
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise
