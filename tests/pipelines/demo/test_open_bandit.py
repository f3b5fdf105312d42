"""Real data, from event files through DuckDB to JSON, against numbers of other programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from pipelines.access.actors import local_actor
from pipelines.analysis import analyse
from pipelines.config import create_workspace
from pipelines.definitions.loader import load_definitions
from pipelines.engine.warehouse import open_warehouse
from pipelines.ingest import ingest_events, ingest_exposures
from pipelines.store.snapshot import to_json
from pipelines.store.state import State

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "tests" / "reference" / "open_bandit.json"
SHARED = ROOT.parent / "shared" / "data" / "open_bandit"
EXPERIMENTS = ("obd_all", "obd_men", "obd_women")
NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The stored JSON per experiment, from a run of every step."""
    workspace = create_workspace(tmp_path_factory.mktemp("open_bandit"))
    package = files("pipelines.demo")
    for folder, names in ((workspace.metrics_dir, ("click_rate",)), (workspace.experiments_dir, EXPERIMENTS)):
        for name in names:
            text = (package / "definitions" / folder.name / f"{name}.toml").read_text()
            (folder / f"{name}.toml").write_text(text)
    definitions = load_definitions(workspace.root)
    with open_warehouse(workspace.warehouse_path) as warehouse:
        exposures = ingest_exposures(
            warehouse, str(package / "open_bandit" / "exposures.parquet"), known=definitions.variants
        )
        events = ingest_events(warehouse, str(package / "open_bandit" / "events.parquet"))
        assert (exposures.accepted, exposures.rejected) == (60_000, 0)
        assert (events.accepted, events.rejected) == (287, 0)
        snapshots = analyse(warehouse, definitions, None, now=NOW)
    with State(workspace.state_path) as state:
        for snapshot in snapshots:
            state.save(snapshot, actor=local_actor())
        return {each.experiment: json.loads(to_json(each)) for each in state.latest_all()}


@pytest.fixture(scope="module")
def expected():
    return json.loads(REFERENCE.read_text())["experiments"]


def close(value):
    # A difference of two rates of 10,000 that are equal is 0 in both programs; everything else is relative.
    return pytest.approx(value, rel=1e-9, abs=0)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_number_equals_the_reference_to_1e_9(results, expected, name):
    result, answer = results[name], expected[name]
    (metric,) = result["metrics"]
    (comparison,) = metric["comparisons"]
    for arm in metric["arms"]:
        reference = answer["per_variant"][arm["variant"]]
        assert arm["n"] == reference["n"]
        assert arm["mean"] == close(reference["mean"])
        assert arm["variance"] == close(reference["var"])
    assert comparison["difference"] == close(answer["diff"])
    assert comparison["se"] == close(answer["se"])
    assert comparison["statistic"] == close(answer["welch_t"])
    assert comparison["df"] == close(answer["welch_df"])
    assert comparison["p_value"] == close(answer["welch_p"])
    assert [comparison["low"], comparison["high"]] == [close(end) for end in answer["welch_ci95"]]
    assert comparison["score_p_value"] == close(answer["pooled_z_p"])
    assert comparison["lift"] == close(answer["lift"])
    srm = next(check for check in result["health"] if check["name"] == "sample_ratio")
    assert srm["p_value"] == close(answer["srm_p"])
    assert result["exposed"] == 20_000
    assert result["exclusions"] == []


def test_the_men_campaign_is_the_one_with_an_effect(results):
    found = {name: result["decision"]["decision"] for name, result in results.items()}
    assert found == {"obd_all": "inconclusive", "obd_men": "ship", "obd_women": "inconclusive"}


def test_the_reference_is_the_shared_one(expected):
    path = SHARED / "answers.json"
    if not path.exists():
        pytest.skip(f"the shared reference data are not beside this checkout ({SHARED.name}/answers.json)")
    campaigns = json.loads(path.read_text())["by_campaign"]
    for name, answer in expected.items():
        shared = campaigns[name.removeprefix("obd_")]
        effect = shared["metrics"]["click"]["vs_control"]["bts"]
        assert {key: effect[key] for key in effect if key in answer} == {
            key: answer[key] for key in answer if key in effect
        }
        assert answer["srm_p"] == shared["srm"]["p"]


def test_the_packages_files_are_the_shared_ones():
    if not SHARED.exists():
        pytest.skip("the shared reference data are not beside this checkout")
    for name in ("exposures.parquet", "events.parquet"):
        assert (files("pipelines.demo") / "open_bandit" / name).read_bytes() == (SHARED / name).read_bytes()
