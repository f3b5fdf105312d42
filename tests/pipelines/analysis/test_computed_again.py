"""An exported notebook computes a snapshot's numbers again: every design, method and breakdown; nothing withheld."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import nbformat
import numpy as np
import pyarrow as pa
import pytest
from nbclient import NotebookClient
from pydantic import TypeAdapter

from pipelines.analysis import analyse
from pipelines.analysis.past import same_numbers
from pipelines.definitions.metrics import Metric
from pipelines.reports.notebook import snapshot_notebook
from pipelines.reports.recompute_snapshot import checks
from pipelines.reports.unrevealed import without_withheld
from pipelines.store.snapshot import from_json, to_json

DAY = timedelta(days=1)
PURCHASE = {"event": "purchase"}
BEFORE = {"covariates": {"look_back_days": 5}}
RATIO = {"kind": "ratio", "numerator": {**PURCHASE, "aggregate": "sum"}, "denominator": {"event": "view"}}
KINDS = {
    "conversion": {"kind": "proportion", **PURCHASE},
    "rare": {"kind": "proportion", "event": "rare"},
    "never": {"kind": "proportion", "event": "never seen"},
    "revenue": {"kind": "mean", **PURCHASE},
    "capped": {"kind": "mean", **PURCHASE, "cap": {"upper": 30.0}},
    "capped_adjusted": {"kind": "mean", **PURCHASE, "cap": {"upper": 30.0}, **BEFORE},
    "adjusted": {"kind": "mean", **PURCHASE, "covariates": {"look_back_days": 5, "metrics": ["views", "order_value"]}},
    "adjusted_rate": {"kind": "proportion", **PURCHASE, **BEFORE},
    "views": {"kind": "count", "event": "view"},
    "order_value": RATIO,
    "adjusted_ratio": {**RATIO, **BEFORE},
    "billions": {"kind": "mean", "event": "balance"},
    "median": {"kind": "quantile", **PURCHASE, "quantile": 0.5, "of": "units"},
    "event_quantile": {"kind": "quantile", **PURCHASE, "quantile": 0.9, "of": "events"},
    "retention": {"kind": "retention", "event": "view", "from_days": 1, "to_days": 4},
    "funnel": {"kind": "funnel", "steps": [{"event": "view"}, {"event": "cart"}]},
}
METRIC: TypeAdapter[Metric] = TypeAdapter(Metric)
METRICS = tuple(METRIC.validate_python({"name": name, "better": "higher", **table}) for name, table in KINDS.items())
THREE = [{"name": name, "share": share} for name, share in (("old", 0.4), ("new", 0.3), ("newer", 0.3))]
SOME = {
    "success": ["conversion", "adjusted"],
    "guardrails": [{"metric": "rare", "margin": 0.5}, {"metric": "order_value", "margin": 0.1}],
    "secondary": ["capped_adjusted"],
}
EVERY = {
    "success": ["conversion", "adjusted"],
    "guardrails": [{"metric": name, "margin": 0.1} for name in ("rare", "adjusted_rate", "adjusted_ratio", "capped")],
    "secondary": [
        name
        for name in KINDS
        if name not in {"conversion", "adjusted", "rare", "adjusted_rate", "adjusted_ratio", "capped"}
    ],
}
LOOKS = {"minimum_effect": 0.3, "design": "group_sequential", "looks": [4, 8]}
FUTILE = {**LOOKS, "futility": "lan_demets_pocock"}
ALWAYS = {"minimum_effect": 0.3, "design": "always_valid"}


def scenario(plan, days, **fields):
    return {"plan": plan, "days": days, **SOME, **fields}


SCENARIOS = {
    "fixed": scenario({"minimum_effect": 0.05}, [15], **EVERY, variants=THREE, segments=["country"]),
    "fixed in units of the metric": scenario({"minimum_effect": 0.5, "relative": False}, [15]),
    "group sequential": scenario(LOOKS, [4, 8, 14]),
    "given up, not binding": scenario({**FUTILE, "minimum_effect": 0.6}, [4, 8, 14]),
    "given up, binding": scenario({**FUTILE, "minimum_effect": 0.6, "binding": True}, [4, 8, 14]),
    "counted in units": scenario({**FUTILE, "units": 1500.0}, [4, 8, 14]),
    "between looks": scenario(LOOKS, [4, 6], variants=THREE, segments=["country"]),
    "longer than planned": scenario({**LOOKS, "reserve": 0.2}, [8, 14, 18], longer=True),
    "always valid": scenario(ALWAYS, [0.1, 1, 1.5, 2, 5, 9], variants=THREE),
    "always valid in units": scenario({**ALWAYS, "units": 1500.0}, [0.1, 2, 5]),
    "blocked": scenario(LOOKS, [4, 8], blocked_from=4),
    "blocked from the start": scenario(LOOKS, [4], blocked_from=0),
    "fixed and blocked": scenario({"minimum_effect": 0.05}, [15], blocked_from=0),
    "running": scenario({"minimum_effect": 0.05}, [9], variants=THREE, segments=["country"]),
    "before the first look": scenario(LOOKS, [2]),
}


@pytest.fixture(scope="module")
def known_looks():
    """Snapshots of the scenarios that were looked at already."""
    return {}


@pytest.fixture
def look(lab, known_looks):
    """The last snapshot of a scenario, each look continuing the one before."""

    def run(name):
        if name not in known_looks:
            known_looks[name] = analysed(name)
        return known_looks[name]

    def analysed(name):
        fields = dict(SCENARIOS[name])
        plan, days = fields.pop("plan"), fields.pop("days")
        longer, blocked_from = fields.pop("longer", False), fields.pop("blocked_from", None)
        known = {}
        with lab.warehouse() as warehouse:
            load(lab, warehouse, 3 if "variants" in fields else 2)
            if blocked_from is not None:
                after = (lab.START + blocked_from * DAY).replace(tzinfo=None)
                lost = "DELETE FROM exposure_rows WHERE variant = 'new' AND unit_id % 3 > 0 AND exposed_at > ?"
                warehouse.connection.execute(lost, [after])
            for day in days:
                now = {"end": lab.END + 10 * DAY} if longer and day > 14 else {}
                experiment = lab.experiment(**{**fields, "plan": plan, **now})
                definitions = lab.definitions(experiment, *METRICS)
                (snapshot,) = analyse(warehouse, definitions, ["checkout"], now=lab.START + day * DAY, previous=known)
                known = {"checkout": from_json(to_json(snapshot))}
        return known["checkout"]

    return run


def load(lab, warehouse, variants):
    """Traffic of the lab over two or three variants, with a rare event, and a country of every exposure."""
    exposures, events = lab.traffic(700)
    names = np.array(["old", "new"] * 5 if variants == 2 else ["old"] * 4 + ["new"] * 3 + ["newer"] * 3)
    unit = exposures["unit_id"].to_numpy()
    exposures = exposures.set_column(1, "variant", pa.array(names[unit % 10].tolist()))
    views = events.filter(pa.compute.equal(events["event"], "view"))
    rare = views.slice(0, 2000).take(list(range(0, 2000, 250)))
    rare = rare.set_column(1, "event", pa.array(["rare"] * rare.num_rows))
    lab.load(
        warehouse, exposures, pa.concat_tables([events, rare]).select(["unit_id", "event", "occurred_at", "value"])
    )
    warehouse.connection.execute(
        "UPDATE exposure_rows SET attributes = json_object('country', "
        "CASE unit_id % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'AT' ELSE 'CH' END)::VARCHAR"
    )


def again(snapshot):
    """All checks of what the notebook holds."""
    return list(checks(json.loads(to_json(without_withheld(snapshot)))))


def text_of(snapshot):
    return json.loads(to_json(without_withheld(snapshot)))


def floats(value):
    """All numbers in a JSON value that are no whole numbers."""
    if isinstance(value, dict | list):
        return {number for each in (value.values() if isinstance(value, dict) else value) for number in floats(each)}
    return {value} if isinstance(value, float) and not value.is_integer() else set()


QUICK = ("group sequential", "before the first look")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS]
)
def test_every_number_that_is_shown_comes_out_again_to_1e_9(look, name):
    found = again(look(name))
    assert [(each.kind, each.names, each.wrong) for each in found if each.wrong] == []
    assert [(each.kind, each.names) for each in found if not (each.withheld or each.recomputed)] == []
    shown = [each for each in found if each.kind == "comparison" and not each.withheld]
    assert bool(shown) == (name not in {"running", "before the first look"})
    # Nothing that the scorecard shows of a comparison is left out.
    for each in shown:
        assert {"difference", "se", "low", "high", "p_value", "lift", "lift_low", "lift_high"} <= each.found.keys()
        assert each.stored["verdict"] is None or each.found["verdict"] == each.stored["verdict"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_notebook_of_every_kind_is_valid_and_runs_in_a_kernel_of_its_own(look, name, tmp_path):
    book = nbformat.reads(snapshot_notebook(look(name)), as_version=4)
    nbformat.validate(book)
    code = [cell.source for cell in book.cells if cell.cell_type == "code"]
    assert "assert not wrong" in code[-1]
    assert not any("pipelines" in line for cell in code[1:] for line in cell.splitlines() if "import" in line)
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.get("text", "") for cell in book.cells for output in cell.get("outputs", ()))
    found = again(look(name))
    counts = Counter(each.kind for each in found if each.recomputed)
    assert f"{counts['comparison']} comparisons recomputed; their numbers are the stored ones to 1e-9." in said
    assert f"{counts['look']} looks and" in said
    assert "rampwise analyze checkout --as-of 2026-03-" in said


@pytest.mark.slow
def test_looks_of_all_kinds_were_among_those(look):
    kinds = {
        (each.stored["validity"], each.stored["given_up"], each.stored["method"] == "welch", bool(each.also_quoted))
        for name in ("given up, binding", "longer than planned", "always valid in units", "counted in units")
        for each in again(look(name))
        if each.kind == "look"
    }
    assert {
        ("group_sequential", False, True, True),
        ("group_sequential", True, True, False),
        ("always_valid", False, True, False),
        ("always_valid", False, False, True),
        ("group_sequential", False, False, False),
    } <= kinds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["running", "before the first look", "between looks"])
def test_a_notebook_holds_no_number_that_its_page_withholds(look, name):
    snapshot = look(name)
    hidden = set()
    for metric in json.loads(to_json(snapshot))["metrics"]:
        withheld = {each["treatment"] for each in metric["comparisons"] if each["verdict"] is None}
        effects = [
            *metric["comparisons"],
            *(e for part in ("choices", "baselines") for c in metric[part] for e in c["effects"]),
        ]
        effects += [e for segment in metric["segments"] for cell in segment["cells"] for e in cell["effects"]]
        names = ("difference", "se", "low", "high", "lift", "lift_low", "lift_high", "p_value", "log_p", "statistic")
        hidden |= floats([each.get(part) for each in effects if each["treatment"] in withheld for part in names])
        hidden |= floats([each["series"] for each in metric["comparisons"] if each["treatment"] in withheld])
        if metric["moments"] is not None:
            hidden |= floats([arm["cross"] for arm in metric["moments"]["arms"] if arm["variant"] in withheld])
    # Shares, days and the means that a page shows may coincide with an effect of few digits.
    hidden = {number for number in hidden if len(repr(number)) > 10}
    held = floats(text_of(snapshot))
    shown = {arm.mean for metric in snapshot.metrics for arm in metric.arms}
    cells = [cell for metric in snapshot.metrics for segment in metric.segments for cell in segment.cells]
    shown |= {arm.mean for cell in cells for arm in cell.arms if arm.variant == snapshot.control}
    shown |= floats([dict(each.stored) for each in again(snapshot) if each.recomputed])
    assert len(hidden) > 10
    assert hidden & held <= shown


@pytest.fixture
def looked(look):
    """A group-sequential snapshot at its end, as the notebook holds it."""
    return text_of(look("group sequential"))


@pytest.mark.parametrize(
    "path",
    [
        ("comparisons", 0, "looks", 0, "boundary"),
        ("comparisons", 0, "looks", 0, "low"),
        ("comparisons", 0, "looks", 1, "lift_high"),
        ("comparisons", 0, "looks", 0, "information_fraction"),
        ("comparisons", 0, "statistic"),
        ("choices", 0, "effects", 0, "se"),
        ("choices", 1, "effects", 0, "lift_low"),
    ],
)
def test_a_stored_number_that_is_wrong_by_1e_8_is_noticed_wherever_it_stands(looked, path):
    changed = looked
    place = next(each for each in changed["metrics"] if each["metric"] == "adjusted")
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] *= 1 + 1e-8
    assert [each.wrong for each in checks(changed) if each.wrong] == [[path[-1]]]


def test_a_verdict_that_its_interval_does_not_give_is_noticed(looked):
    changed = looked
    comparison = changed["metrics"][0]["comparisons"][0]
    comparison["looks"][1]["verdict"] = comparison["verdict"] = "better"
    assert [(each.kind, each.wrong) for each in checks(changed) if each.wrong] == [
        ("comparison", ["verdict"]),
        ("look", ["verdict"]),
    ]


def test_a_snapshot_from_before_moments_were_kept_is_quoted_with_the_reason(look):
    snapshot = as_before(look("group sequential"))
    found = again(snapshot)
    assert {each.why_quoted for each in found if each.kind in {"comparison", "look"} and not each.withheld} == {
        "it was stored before the whole plan was kept with every look"
    }
    assert {each.why_quoted for each in found if each.kind == "choice"} == {
        "it was stored before its Moments were kept"
    }


def test_what_serves_to_recompute_is_no_part_of_the_numbers_that_later_data_change(look):
    snapshot = look("group sequential")
    assert same_numbers(snapshot, as_before(snapshot))
    other = replace(snapshot.metrics[0], arms=())
    assert not same_numbers(snapshot, replace(snapshot, metrics=(other, *snapshot.metrics[1:])))


def test_looks_that_were_judged_by_another_plan_are_quoted(look):
    changed = text_of(look("group sequential"))
    changed["metrics"][0]["comparisons"][0]["looks"][0]["plan"] = "0" * 16
    quoted = [each for each in checks(changed) if each.why_quoted]
    assert [(each.kind, each.names[2][:6]) for each in quoted] == [("look", "look 1")]
    assert quoted[0].why_quoted == "it was judged by the plan as it was then, which was changed since"


def as_before(snapshot):
    """The snapshot as it was stored before Moments and plans were kept."""
    metrics = tuple(
        replace(
            metric,
            moments=None,
            comparisons=tuple(
                replace(each, looks=tuple(replace(look, method=None, plan=None) for look in each.looks))
                for each in metric.comparisons
            ),
        )
        for metric in snapshot.metrics
    )
    return replace(snapshot, metrics=metrics, plan=replace(snapshot.plan, decided=None))
