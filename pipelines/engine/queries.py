"""Fixed SQL from `pipelines/sql`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def read_sql(name: str) -> str:
    """Text of `pipelines/sql/<name>.sql`."""
    return (files("pipelines") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
