"""The table of methods in the package's docstring names what exists, and nothing twice."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

import stats

NAMED = re.findall(r"`stats\.(\w+)\.(\w+)`", stats.__doc__ or "")


def test_the_index_names_each_method_once() -> None:
    assert len(NAMED) > 60
    assert len(set(NAMED)) == len(NAMED)


@pytest.mark.parametrize(("module", "name"), NAMED, ids=[f"{module}.{name}" for module, name in NAMED])
def test_a_method_of_the_index_exists_where_it_is_said_to_be_and_is_documented(module: str, name: str) -> None:
    found = getattr(importlib.import_module(f"stats.{module}"), name)
    assert callable(found)
    assert found.__module__ == f"stats.{module}"
    assert inspect.getdoc(found)
