"""The corpus, the workspaces made of it, and what reads them lie beside this file; so do fixtures for its pages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.config import set_option
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app import server

sys.path.insert(0, str(Path(__file__).parent))

from hostile_workspace import Hostile, build


def _without_settings() -> None:
    found = [name for name in os.environ if name.startswith("RAMPWISE_")]
    assert not found, "the workspace would not be built as its own settings say"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """With two experiments; nothing that others look at may be changed."""
    _without_settings()
    return build(tmp_path_factory.mktemp("hostile"), every=25)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """With as many experiments as texts; for long tests."""
    _without_settings()
    return build(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AppTest]]:
    """Run a page of the dashboard on a workspace, as its address would, served on this machine only."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # a page becomes it while it runs
    set_option("server.address", server.LOOPBACK)

    def make(root: Path, page: str, **query: str) -> AppTest:
        monkeypatch.setenv("RAMPWISE_WORKSPACE", str(root))
        test = AppTest.from_file(str(server.MAIN), default_timeout=120)
        test._page_hash = calc_hash(page)
        for name, value in query.items():
            test.query_params[name] = value
        return test.run()

    yield make
    set_option("server.address", None)


@pytest.fixture
def panels() -> Callable[[AppTest], str]:
    """The HTML of all panels on a page, in their order."""
    return lambda test: "\n".join(json.loads(each.proto.json)["html"] for each in test.get("bidi_component"))
