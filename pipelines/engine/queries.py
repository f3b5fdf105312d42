"""Fixed SQL from `pipelines/sql`, and the one place that quotes a name for SQL."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def read_sql(name: str) -> str:
    """Text of `pipelines/sql/<name>.sql`."""
    return (files("pipelines") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def quoted(name: str) -> str:
    """`name` as an SQL identifier, whatever characters it holds."""
    return '"' + name.replace('"', '""') + '"'
