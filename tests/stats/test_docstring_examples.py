"""Every example in a docstring of the statistics room runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import stats

MODULES = sorted(module.name for module in pkgutil.walk_packages(stats.__path__, "stats."))


def test_the_room_has_modules() -> None:
    assert "stats.means" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
