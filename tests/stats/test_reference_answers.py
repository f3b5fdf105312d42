"""Every known answer of the shared reference tables, run through the public functions.

A case is ``{id, method, inputs, expected, tolerance: {rel, abs[, extreme]}}``. Its method is looked up in the adapters
(``reference_adapters/<family>.py``, each with ``ADAPTERS: dict[str, Callable[[inputs, case], dict]]``), which call
the public functions and return what the case names. A method must have an adapter or stand in ``NOT_YET`` with its
reason: no case is skipped silently.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
TABLES = HERE.parents[2] / "shared" / "references"
Adapter = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]

# Methods without an adapter, each with its reason; a case of such a method is skipped with it.
NOT_YET: dict[str, str] = {}

# Answers of the tables that are wrong in a digit they claim, with what is right and why. The case runs against the
# right answer, and must still miss the printed one: the entry goes when the table is mended.
DISPUTED: dict[str, tuple[dict[str, float], str]] = {
    "bayes-bb-zero": (
        {
            "chance_to_beat": 0.5,
            "expected_loss_choosing_treatment": 1 / 102 - 1 / 203,
            "expected_loss_choosing_control": 1 / 102 - 1 / 203,
        },
        "of two Beta(1, 101) the chance is 1/2; the table's integral stops 14 standard deviations above the mean",
    )
}

# What a typed non-result of the tables may be called here.
STATUSES = {
    "undefined": {"zero_variance", "insufficient_data", "undefined_relative", "invalid_input"},
    "undefined_relative": {"undefined_relative"},
    "precision_loss": {"precision_loss"},
    "invalid_sums": {"invalid_input"},
    "impossible_arm_observed": {"impossible_arm"},
}


def load_cases() -> list[dict[str, Any]]:
    if not TABLES.is_dir():
        return []
    cases = []
    for path in sorted(TABLES.glob("*.json")):
        table = json.loads(path.read_text(encoding="utf-8"))
        assert table["cases"], f"{path.name} holds no case"
        cases += [{**case, "table": path.stem} for case in table["cases"]]
    return cases


def load_adapters() -> dict[str, Adapter]:
    folder = HERE / "reference_adapters"
    spec = importlib.machinery.ModuleSpec("reference_adapters", None, is_package=True)
    package = importlib.util.module_from_spec(spec)
    package.__path__ = [str(folder)]
    sys.modules["reference_adapters"] = package
    adapters: dict[str, Adapter] = {}
    for path in sorted(folder.glob("*.py")):
        module = importlib.import_module(f"reference_adapters.{path.stem}")
        found = getattr(module, "ADAPTERS", {})
        assert not adapters.keys() & found.keys(), f"two adapters for {sorted(adapters.keys() & found.keys())}"
        adapters.update(found)
    return adapters


CASES = load_cases()
ADAPTERS = load_adapters()


def differences(got: Any, expected: Any, tolerance: dict[str, Any], path: str = "") -> list[str]:
    """Where `got` is not `expected`, recursively; an empty list is agreement."""
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return [f"{path}: expected an object, got {got!r}"]
        missing = [f"{path}.{key}: missing" for key in expected if key not in got]
        found = [differences(got[k], v, tolerance, f"{path}.{k}") for k, v in expected.items() if k in got]
        return missing + [line for lines in found for line in lines]
    if isinstance(expected, list):
        items = list(got) if hasattr(got, "__iter__") and not isinstance(got, (str, dict)) else None
        if items is None or len(items) != len(expected):
            return [f"{path}: expected {len(expected)} values, got {got!r}"]
        found = [
            differences(g, e, tolerance, f"{path}[{i}]") for i, (g, e) in enumerate(zip(items, expected, strict=True))
        ]
        return [line for lines in found for line in lines]
    if path == ".status":
        allowed = STATUSES.get(expected, {expected})
        return [] if got in allowed else [f"{path}: expected one of {sorted(allowed)}, got {got!r}"]
    if isinstance(expected, (bool, str)):
        return [] if got == expected else [f"{path}: expected {expected!r}, got {got!r}"]
    return scalar_difference(None if got is None else float(got), expected, tolerance, path)


def scalar_difference(got: float | None, expected: float | None, tolerance: dict[str, Any], path: str) -> list[str]:
    extreme = tolerance.get("extreme", {})
    if expected is None:  # unbounded, or "no rejection possible"
        unbounded = got is None or math.isinf(got) or (bool(extreme) and got >= 7.0)
        return [] if unbounded else [f"{path}: expected no bound, got {got!r}"]
    if got is None or math.isnan(got):
        return [f"{path}: expected {expected!r}, got {got!r}"]
    allowed = tolerance["abs"] + tolerance["rel"] * abs(expected)
    if extreme and expected > extreme["z_above"]:
        allowed = extreme["abs"]
    return [] if abs(got - expected) <= allowed else [f"{path}: expected {expected!r} +- {allowed:.3g}, got {got!r}"]


@pytest.mark.skipif(not CASES, reason="the shared reference tables are not beside this checkout")
def test_the_tables_hold_cases_and_each_method_is_answered_or_named_as_missing() -> None:
    methods = {case["method"] for case in CASES}
    assert methods
    assert not methods & ADAPTERS.keys() & NOT_YET.keys(), "answered, yet named as missing"
    assert methods <= ADAPTERS.keys() | NOT_YET.keys(), (
        f"no adapter for {sorted(methods - ADAPTERS.keys() - NOT_YET.keys())}"
    )


def test_the_comparison_can_fail() -> None:
    strict = {"rel": 1e-9, "abs": 0}
    assert not differences({"a": 1.0, "b": [None, 2]}, {"a": 1, "b": [None, 2.0]}, strict)
    for got in ({"a": 1.00001}, {}, {"a": None}, {"a": math.nan}, {"a": math.inf}):
        assert differences(got, {"a": 1}, strict)
    assert differences({"a": 3.0}, {"a": None}, strict)
    assert differences({"status": "ok"}, {"status": "undefined"}, strict)
    assert differences({"v": [1]}, {"v": [1, 2]}, strict)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['table']}-{case['id']}")
def test_the_reference_answer_is_reproduced(case: dict[str, Any]) -> None:
    adapter = ADAPTERS.get(case["method"])
    if adapter is None:
        pytest.skip(NOT_YET.get(case["method"], "no adapter"))
    got, expected = adapter(case["inputs"], case), case["expected"]
    if (disputed := DISPUTED.get(f"{case['table']}-{case['id']}")) is not None:
        assert differences(got, expected, case["tolerance"]), f"no longer disputed: {disputed[1]}"
        expected = {**expected, **disputed[0]}
    found = differences(got, expected, case["tolerance"])
    assert not found, "\n".join([*found, case["source"], case.get("note", "")])
