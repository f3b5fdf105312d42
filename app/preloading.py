"""What pages need is loaded in the background when the dashboard starts, so that no visitor waits for it.

Importing the pages takes longer than starting the server, and the first chart longer than all later ones.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module

_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def preloading(app: object) -> AsyncIterator[None]:
    """While the server runs; nothing waits for it, neither the first visitor nor the end.

    Parameters
    ----------
    app
        What is served; whoever serves it hands it over.
    """
    del app
    stop = threading.Event()
    threading.Thread(target=preload, args=(stop,), name="preloading", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def preload(stop: threading.Event) -> None:
    """Import, compile and read, one step after the other until `stop` is set.

    A step that fails is logged and left out: the page that needs it says what is wrong.
    """
    for step in STEPS:
        if stop.is_set():
            return
        try:
            step()
        except Exception:  # noqa: BLE001 - nobody asked for it yet
            _LOG.info("%s failed; pages do it when they are asked for", step.__name__, exc_info=True)


def load_pages() -> None:
    """Every page, with all it imports when it is imported."""
    import_module("app.views.frame")


def compile_templates() -> None:
    """The HTML of all panels."""
    from app.views.panel import compile_all

    compile_all()


def read_results() -> None:
    """Latest looks and definitions of the workspace."""
    from app.views.defined import definitions_of
    from app.views.snapshots import load_looks

    definitions_of(load_looks().workspace.root)


def draw_first_experiment() -> None:
    """The experiment that is shown first: what draws charts is imported by its charts."""
    from app.views.experiments import by_urgency
    from app.views.snapshots import load_looks
    from app.views.timeline import chart_specifications

    first = by_urgency(load_looks().snapshots.values())[:1]
    for snapshot in first:
        chart_specifications(snapshot)


def load_charts() -> None:
    """What charts import, where no experiment has one yet."""
    for name in ("altair", "pyarrow.pandas_compat"):
        import_module(name)


STEPS: tuple[Callable[[], None], ...] = (
    load_pages,
    compile_templates,
    read_results,
    draw_first_experiment,
    load_charts,
)
"""In the order in which a visitor's way leads past them."""
