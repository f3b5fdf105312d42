"""What to load: paths and patterns to files, and files to rows."""

from __future__ import annotations

import glob
import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from duckdb import ColumnExpression, DuckDBPyConnection

from pipelines.ingest.columns import Column
from pipelines.ingest.contract import RATIO_COUNTS_FROM, Contract
from pipelines.ingest.delimited import open_line_by_line, open_strictly, read_header
from pipelines.ingest.errors import EmptySourceError, NoSourceError, TooLargeSourceError, UnreadableSourceError
from pipelines.ingest.frames import as_arrow, frame_label, open_table, table_hash
from pipelines.ingest.json_lines import open_json_lines, open_objects
from pipelines.ingest.lines import GZIP_MAGIC, is_gzip, lines_of, open_text
from pipelines.ingest.projection import Field, OpenSource

Sources: TypeAlias = Any
"""A path, a pattern, a pandas, polars or Arrow frame, or a list or tuple of these."""

PARQUET_MAGIC = b"PAR1"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file or frame before it is read: what to call it, and its path or its Arrow table."""

    label: str
    content: Path | pa.Table


def find_sources(sources: Sources) -> tuple[Source, ...]:
    """Every file and frame that is meant, in order, each file once.

    Raises
    ------
    NoSourceError
        If a path or pattern matches no file.
    UnreadableSourceError
        If something is neither a path nor a frame.
    """
    found: dict[object, Source] = {}
    for item in _items(sources):
        if isinstance(item, str | Path):
            for path in _matches(str(item)):
                found.setdefault(path.resolve(), Source(label=str(path), content=path))
        else:
            found[id(item)] = Source(label=frame_label(item), content=as_arrow(item))
    return tuple(found.values())


def _items(sources: Sources) -> Iterator[object]:
    if isinstance(sources, list | tuple):
        yield from sources
    else:
        yield sources


def _matches(pattern: str) -> list[Path]:
    if Path(pattern).exists():
        return [Path(pattern)]
    paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 - absolute patterns too
    files = [path for path in paths if path.is_file()]
    if not files:
        raise NoSourceError(pattern)
    return files


def content_hash(source: Source) -> str:
    """SHA-256 of a file's bytes or of a frame's content, in hexadecimal."""
    if not isinstance(source.content, Path):
        return table_hash(source.content)
    with source.content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_size(source: Source, contract: Contract) -> None:
    """Refuse a file that is a bomb, or would be one: too large after decompression, or packed too tightly.

    Raises
    ------
    TooLargeSourceError
        If it is beyond the contract's limits.
    """
    path = source.content
    if not isinstance(path, Path) or not path.is_file():
        return
    packed = path.stat().st_size
    size = packed
    if is_gzip(path):
        size = unpacked_size(path, most=contract.largest_bytes)
    elif kind_of(path) == "parquet":
        size = _parquet_size(path)
    if size > contract.largest_bytes:
        raise TooLargeSourceError(source.label, size=size, limit=contract.largest_bytes)
    if size > RATIO_COUNTS_FROM and size > contract.largest_ratio * packed:
        raise TooLargeSourceError(source.label, size=size, limit=int(contract.largest_ratio * packed), packed=packed)


def unpacked_size(path: Path, *, most: int) -> int:
    """Bytes of a gzip file after decompression, counted without keeping them; stops soon after `most`."""
    size = 0
    with gzip.open(path, "rb") as file:
        try:
            while block := file.read(1 << 20):
                size += len(block)
                if size > most:
                    break
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return size  # damaged: reading it says so, with its line
    return size


def _parquet_size(path: Path) -> int:
    """Bytes of a Parquet file's columns after decompression, at least one per value, by its footer."""
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return 0  # damaged: reading it says so
    stored = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    return max(int(stored), int(footer.num_rows) * int(footer.num_columns))


def check_texts(source: Source, contract: Contract) -> None:
    """Refuse a Parquet file that holds long texts many times: its footer does not tell, so memory ran out first.

    Raises
    ------
    TooLargeSourceError
        If its rows are beyond the contract's ratio.
    """
    path = source.content
    if not isinstance(path, Path) or kind_of(path) != "parquet":
        return
    packed = path.stat().st_size
    limit, size = max(int(contract.largest_ratio * packed), RATIO_COUNTS_FROM), 0
    with pq.ParquetFile(path) as file:
        texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=10_000):
            for column in batch.columns:
                if pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type):
                    lengths = pc.binary_length(column.dictionary).take(column.indices)
                    size += pc.sum(lengths.cast(pa.int64())).as_py() or 0
            if size > limit:
                raise TooLargeSourceError(source.label, size=size, limit=limit, packed=packed)


def open_source(
    cursor: DuckDBPyConnection, source: Source, wanted: Sequence[Column], *, strict: bool, whole: bool = False
) -> OpenSource:
    """A source's rows; `strict` says that a CSV file must follow the rules, see `can_be_lenient`.

    With `whole`, JSON lines come as objects for a mapping to look into.

    Raises
    ------
    SourceError
        If the whole file cannot be read: empty, damaged, of another kind than its name says, without a header.
    """
    path = source.content
    if not isinstance(path, Path):
        return open_table(cursor, path, source.label)
    kind = kind_of(path)
    if kind == "parquet":
        return _open_parquet(cursor, path)
    if kind == "json":
        return open_objects(cursor, path) if whole else open_json_lines(cursor, path, wanted)
    header = read_header(path, wanted)
    return open_strictly(cursor, path, header) if strict else open_line_by_line(cursor, path, header)


PACKED = {GZIP_MAGIC: "gzip", b"\x28\xb5\x2f\xfd": "Zstandard", b"PK\x03\x04": "ZIP", b"BZh": "bzip2", b"\xfd7zX": "xz"}
"""How packed files begin."""


def can_be_lenient(source: Source) -> bool:
    """Whether a source that breaks the rules can be read once more, line by line."""
    return isinstance(source.content, Path) and kind_of(source.content) == "csv"


def kind_of(path: Path) -> str:
    """`parquet`, `csv` or `json`, by the name's ending, else by the content.

    Raises
    ------
    EmptySourceError, UnreadableSourceError
        If there is nothing in it, or its first bytes contradict its name.
    """
    label = str(path)
    if not path.is_file():
        raise UnreadableSourceError(label, "it is not a file.", "Name a file, or a pattern such as folder/*.csv.")
    with path.open("rb") as file:
        start = file.read(len(PARQUET_MAGIC))
    if not start:
        raise EmptySourceError(label)
    _refuse_packed(path, start)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    kind = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if kind == "parquet" or start == PARQUET_MAGIC:
        if start != PARQUET_MAGIC:
            hint = "Parquet compresses its columns itself: unpack the file." if is_gzip(path) else "Export it again."
            raise UnreadableSourceError(label, "it does not begin like a Parquet file.", hint)
        return "parquet"
    if start.startswith(UTF_16_MARKS):
        raise UnreadableSourceError(label, "it is UTF-16 text.", "Save the file as UTF-8.")
    if kind is None:
        with open_text(path) as text:
            first = next((line.text for line in lines_of(text) if line.text.strip()), "")
        kind = "json" if first.lstrip().startswith(("{", "[")) else "csv"
    return kind


def _refuse_packed(path: Path, start: bytes) -> None:
    """Only gzip is unpacked, and once: what else is packed says so by its first bytes."""
    within = ""
    if start.startswith(GZIP_MAGIC):
        within = " inside gzip"
        try:
            with gzip.open(path, "rb") as file:
                start = file.read(len(PARQUET_MAGIC))
        except (EOFError, OSError, zlib.error):
            return  # damaged: reading it says so
    for magic, name in PACKED.items():
        if start.startswith(magic) and not (name == "gzip" and not within):
            raise UnreadableSourceError(str(path), f"it is {name}{within}, which is not unpacked.", "Unpack it first.")


def _open_parquet(cursor: DuckDBPyConnection, path: Path) -> OpenSource:
    try:
        relation = cursor.read_parquet(str(path), binary_as_string=True).set_alias("file_rows")
    except duckdb.Error as error:
        raise UnreadableSourceError(
            str(path), f"it is not a whole Parquet file: {first_line(error)}", "Export or copy it again."
        ) from error
    fields = tuple(
        Field(name=name, value=ColumnExpression("file_rows", name), type=str(kind))
        for name, kind in zip(relation.columns, relation.types, strict=True)
    )
    return OpenSource(label=str(path), relation=relation, fields=fields)


def first_line(error: BaseException | None) -> str:
    """What an error says first, as a sentence; DuckDB adds pages of advice."""
    return str(error).strip().partition("\n")[0].rstrip(".") + "."
