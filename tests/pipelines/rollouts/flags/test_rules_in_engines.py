"""The published rules mean the same in every engine: Python's, JavaScript's, and SQL over the unit ids."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import duckdb
import numpy as np
import pytest
from flag_plans import pair, plans
from openfeature.contrib.tools.flagd.core.flagd_core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from pipelines.client.bucketing import Line, unit_number
from pipelines.engine.queries import read_sql
from pipelines.rollouts.flags.compile import compile_flags
from pipelines.rollouts.flags.golden import planned_variant
from pipelines.rollouts.flags.plans import INELIGIBLE, OFF
from pipelines.rollouts.flags.rules import attribute_rule

UNITS = [f"unit-{number}" for number in range(20_000)]
HERE = Path(__file__).parent
VALUES = [None, 0, 1, 2, 5, -3, 7.25, True, False, "", "a", "1", "0", "true", "False", "7", "DE"]


def _engine(file_plans):
    core = FlagdCore()
    core.set_flags(compile_flags(file_plans, revision=1).text())
    return core


def _resolve(core, plan, attributes):
    asks = {bool: core.resolve_boolean_value, str: core.resolve_string_value, int: core.resolve_float_value}
    defaults = {bool: False, str: "", int: 0.0}
    kind = type(plan.off)
    return asks[kind](plan.key, defaults[kind], EvaluationContext("u", attributes)).variant


def _contexts():
    """Units as applications present them: most with a number, some without, with attributes of every kind."""
    generator = np.random.default_rng(20261127)
    countries, visits, staff = ["DE", "FR", "US", None], [0, 2, 3, 10, "3", None], [True, False, None, "true", 1]
    for unit in UNITS:
        context = {"xp_u": unit_number(unit)}
        for name, options in (("country", countries), ("visits", visits), ("staff", staff)):
            value = options[generator.integers(len(options))]
            if value is not None:
                context[name] = value
        yield context


def test_the_python_engine_gives_every_unit_what_the_plan_says():
    unconditional = [plan for plan in plans() if not (plan.conditions or plan.prerequisites or plan.early_adopters)]
    core = _engine(unconditional)
    for plan in unconditional:
        for unit in UNITS[:1500]:
            assert _resolve(core, plan, {"xp_u": unit_number(unit)}) == planned_variant(plan, unit), (plan.key, unit)


@pytest.mark.parametrize("number", [None, "", "17", 0, -5, 1.5e300, True, 2**60, "missing"])
def test_a_missing_or_malformed_number_is_never_enrolled(number):
    core = _engine([pair(coverage=0.5), pair("finished", everybody="treatment")])
    attributes = {} if number == "missing" else {"xp_u": number}
    for key in ("checkout", "finished"):
        assert core.resolve_boolean_value(key, False, EvaluationContext("u", attributes)).variant == INELIGIBLE


@pytest.mark.parametrize(
    ("operator", "operand", "met"),
    [
        ("is", 1, [1]),
        ("is", 0, [0]),
        ("is", True, [True]),
        ("is", False, [False]),
        ("is", "a", ["a"]),
        ("is_not", "a", [value for value in VALUES if value != "a"]),
        ("is_not", 1, [value for value in VALUES if value != 1 or value is True]),
        ("in", ["DE", 5], [5, "DE"]),
        ("not_in", ["DE", 5], [value for value in VALUES if value not in (5, "DE")]),
        ("at_least", 5, [5, 7.25]),
        ("above", 5, [7.25]),
        ("at_most", 0, [0, -3]),
        ("below", 0, [-3]),
        ("exists", True, [value for value in VALUES if value is not None]),
        ("exists", False, [None]),
    ],
)
def test_a_condition_holds_for_exactly_these_values(operator, operand, met):
    core = _engine([pair(everybody="treatment", conditions=(attribute_rule("x", operator, operand),))])
    found = [
        value
        for value in VALUES
        if core.resolve_boolean_value(
            "checkout", False, EvaluationContext("u", {"xp_u": 5} if value is None else {"xp_u": 5, "x": value})
        ).value
    ]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in VALUES if _among(value, met)]


def _among(value, values):
    return any(type(value) is type(each) and value == each for each in values)


def test_sql_finds_the_same_places_from_the_unit_ids_alone():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE audited_units AS SELECT unnest($units::VARCHAR[]) AS unit", {"units": UNITS})
    for plan in plans():
        line = Line.of(plan.salt)
        rows = connection.execute(read_sql("flag_audit"), {"a": line.a, "b": line.b}).fetchall()
        assert len(rows) == len(UNITS)
        for unit, number, place in rows[::13]:
            assert (number, place) == (unit_number(unit), line.position(number))


def test_coverage_lies_within_four_standard_deviations():
    for plan in (pair(coverage=0.05), pair("colours", arms=plans()[2].arms, off="old", coverage=0.6)):
        found = [planned_variant(plan, unit) for unit in UNITS]
        for name, low, high in plan.intervals():
            share = (high - low) / 67_108_859
            assert abs(found.count(name) - share * len(UNITS)) < 4 * (len(UNITS) * share * (1 - share)) ** 0.5


def test_more_coverage_moves_nobody_between_arms():
    before: dict[str, str] = {}
    for coverage in (0.0, 0.01, 0.05, 0.25, 0.5, 0.6):
        plan = pair("colours", arms=plans()[2].arms, off="old", coverage=coverage)
        now = {unit: planned_variant(plan, unit) for unit in UNITS}
        assert all(now[unit] == variant for unit, variant in before.items() if variant != OFF)
        before = now


def test_slices_of_a_layer_share_no_unit_and_leave_none_out():
    left, right = (next(plan for plan in plans() if plan.key == key) for key in ("left", "right"))
    from dataclasses import replace

    everybody = [replace(plan, everybody="treatment") for plan in (left, right)]
    for unit in UNITS:
        assert [planned_variant(plan, unit) for plan in everybody].count("treatment") == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_javascript_engine_validates_the_file_and_gives_20000_units_the_same(tmp_path):
    """Strict validation by the schemas of npm's @openfeature/flagd-core, then unit by unit against Python's engine."""
    shutil.copy(HERE / "node" / "package.json", tmp_path)
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
        cwd=tmp_path,
        check=True,
        timeout=240,
    )
    shutil.copy(HERE / "node" / "evaluate.cjs", tmp_path)
    flags, contexts = plans(), list(_contexts())
    contexts[::97] = [{key: value for key, value in each.items() if key != "xp_u"} for each in contexts[::97]]
    document = compile_flags(flags, revision=7).text()
    (tmp_path / "input.json").write_text(json.dumps({"document": document, "contexts": contexts}))
    done = subprocess.run(
        ["node", "evaluate.cjs"], cwd=tmp_path, check=True, timeout=240, capture_output=True, text=True
    )
    assert done.stdout.strip() == "valid"
    javascript = json.loads((tmp_path / "output.json").read_text())
    core = _engine(flags)
    for plan in flags:
        python = [_resolve(core, plan, context) for context in contexts]
        assert javascript[plan.key] == python, plan.key
        assert len(set(python)) >= (1 if plan.killed else 2), f"{plan.key} tells no units apart"
