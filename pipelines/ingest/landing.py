"""Accepted sources are kept, named by their content, so that the warehouse can be made again from them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow.parquet as pq

from pipelines.engine.folders import sync_folder
from pipelines.ingest.contract import Contract
from pipelines.ingest.lines import is_gzip
from pipelines.ingest.sources import Source, content_hash, kind_of

ENDINGS = {"parquet": ".parquet", "csv": ".csv", "json": ".jsonl"}
CONTRACTS = "contracts"


def keep(landed: Path, source: Source, *, content_hash: str, table: str) -> Path:
    """Copy a source to `landed/<table>/<hash><ending>`; a frame is kept as Parquet.

    The file appears whole, on disk, or not at all. One that exists already stays as it is, unless it is damaged: then
    the source takes its place.
    """
    folder = landed / table
    folder.mkdir(parents=True, exist_ok=True)
    path = source.content if isinstance(source.content, Path) else None
    ending = ".parquet" if path is None else ENDINGS[kind_of(path)] + (".gz" if is_gzip(path) else "")
    target = folder / f"{content_hash}{ending}"
    if path is not None and target.exists() and (target.samefile(path) or is_sound(target)):
        return target
    if path is None and target.exists() and is_sound(target):
        return target
    with whole_file(target) as part:
        if path is None:
            pq.write_table(source.content, part)
        else:
            with path.open("rb") as file:
                shutil.copyfileobj(file, part, 1 << 20)
    return target


def keep_contract(landed: Path, contract: Contract) -> Path:
    """Keep what rows were judged by, in `landed/contracts/<hash>.json`."""
    folder = landed / CONTRACTS
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{contract.digest}.json"
    if not target.exists() or target.read_text(encoding="utf-8", errors="replace") != contract.text():
        with whole_file(target) as part:
            part.write(contract.text().encode())
    return target


def is_sound(path: Path) -> bool:
    """Whether a landed file still holds what its name says."""
    return content_hash(Source(label=str(path), content=path)) == path.name.partition(".")[0]


def landed_files(landed: Path, table: str) -> dict[str, Path]:
    """Landed files of a kind by their content hash."""
    folder = landed / table
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name.partition(".")[0]: path for path in found if not path.name.startswith(".")}


@contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
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
    sync_folder(target.parent)
