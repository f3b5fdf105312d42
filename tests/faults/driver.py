"""Runs ingestions that are killed: a process under the shim, which forks a child per kill. Reads orders on stdin.

One order per line, JSON: `{"root", "mode", "at", "code", "log", "variant"}`; answers with the child's end and the calls
it made. DuckDB is imported but never opened here, so that forking is safe and a child starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet

import pipelines.ingest.batch as batch
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest.contract import Contract
from pipelines.ingest.gaps import Rules
from pipelines.ingest.inbox import ingest_inbox
from pipelines.store.database import open_database

assert np
assert pyarrow.parquet
KNOWN = Contract(variants={"checkout": frozenset({"control", "one_page"})})
SHIM = ctypes.CDLL(os.environ["LD_PRELOAD"])


@contextmanager
def no_transaction(connection):
    """The broken variant: every statement commits by itself."""
    yield


def work(root: Path, variant: str) -> None:
    if variant == "no_transaction":
        batch._transaction = no_transaction
    if variant == "open_state":
        open_database(root / "data" / "state.sqlite").close()
        return
    opening = partial(open_warehouse, root / "data" / "warehouse.duckdb", threads=1, memory_limit="200MB")
    if variant == "open_warehouse":
        with opening():
            return
    ingest_inbox(root / "inbox", root / "landed", opening, rules=Rules(contract=KNOWN), settle_seconds=0)


def child(order: dict) -> None:
    root = Path(order["root"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644) if order.get("log") else -1
    SHIM.shim_arm(order["mode"], ctypes.c_long(order["at"]), order.get("code", 0), str(root).encode(), log)
    try:
        work(root, order.get("variant", ""))
    except BaseException as error:  # noqa: BLE001 - the child's end is the answer
        SHIM.shim_arm(0, ctypes.c_long(0), 0, b"/", -1)
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    SHIM.shim_arm(0, ctypes.c_long(0), 0, b"/", -1)
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            errors = os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(errors, 2)
            child(order)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(json.dumps({"code": os.waitstatus_to_exitcode(status)}) + "\n")
        sys.stdout.flush()


main()
