"""The published answers on 78 real experiments: every snapshot's fixed, always-valid and group-sequential result."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import monitor
from stats.group_sequential.spending import Spending
from stats.multiplicity import adjust_p_values
from stats.sequential.running import Standing, follow
from stats.status import Status

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT.parent / "shared" / "data" / "asos"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the shared ASOS snapshots are not beside this checkout")

# The answers are printed with 12 significant digits.
REL = 1e-9
FAMILIES = {"asOF": "lan_demets_obrien_fleming", "asP": "lan_demets_pocock"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("asos_peeking", ROOT / "tests" / "bench" / "asos_peeking.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    return json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def replayed(script: ModuleType) -> pd.DataFrame:
    return script.replay(*script.load())


@pytest.fixture(scope="module")
def snapshots() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "answers_all_snapshots.csv.gz", dtype={"variant_id": str})


def test_every_snapshot_of_every_treatment_and_metric_is_answered(
    replayed: pd.DataFrame, snapshots: pd.DataFrame, answers: dict[str, Any]
) -> None:
    assert len(replayed) == len(snapshots) == answers["n_rows"]
    for key in ("experiment_id", "variant_id", "metric_id"):
        assert (replayed[key].astype(str).to_numpy() == snapshots[key].astype(str).to_numpy()).all()
    assert replayed["time_since_start"].to_numpy() == pytest.approx(snapshots["time_since_start"].to_numpy())


def test_a_missing_variance_is_reported_and_not_skipped(
    replayed: pd.DataFrame, snapshots: pd.DataFrame, answers: dict[str, Any]
) -> None:
    missing = replayed[["variance_c", "variance_t"]].isna().any(axis=1)
    empty = (replayed["count_c"] == 0) & (replayed["count_t"] == 0)
    assert missing.sum() == answers["rows_missing_variance"] == 779
    assert empty.sum() == 8
    assert (replayed.loc[missing, "status"] == Status.INVALID_INPUT).all()
    assert (replayed.loc[empty, "status"] == Status.INSUFFICIENT_DATA).all()
    assert (replayed.loc[~missing & ~empty, "status"] == Status.OK).all()
    unanswered = snapshots["se"].isna().to_numpy()
    assert (unanswered == (missing | empty).to_numpy()).all()
    for column in ("se", "welch_p", "log_e", "acs_half_width"):
        assert (replayed[column].isna().to_numpy() == unanswered).all()
    final = replayed.groupby(["experiment_id", "variant_id", "metric_id"])["status"].last()
    without = (final == Status.INVALID_INPUT).groupby("metric_id").sum()
    assert {f"metric_{k}": int(v) for k, v in without.items()} == answers["treatments_missing_variance"]


@pytest.mark.parametrize("column", ["diff", "se", "welch_p", "msprt_p", "acs_half_width"])
def test_the_path_is_the_published_one(replayed: pd.DataFrame, snapshots: pd.DataFrame, column: str) -> None:
    got, expected = replayed[column].to_numpy(), snapshots[column].to_numpy()
    known = ~np.isnan(snapshots["se"].to_numpy())
    assert known.sum() == 24_153 - 787
    assert got[known] == pytest.approx(expected[known], rel=REL, abs=0)


def test_the_running_p_value_is_carried_through_snapshots_without_a_variance(
    replayed: pd.DataFrame, snapshots: pd.DataFrame
) -> None:
    assert replayed["msprt_p"].to_numpy() == pytest.approx(snapshots["msprt_p"].to_numpy(), rel=REL, abs=0)


def test_the_table_counts_what_was_published(
    script: ModuleType, replayed: pd.DataFrame, answers: dict[str, Any]
) -> None:
    table = script.peeking_table(replayed)
    published = pd.DataFrame(answers["by_metric"]).T
    for ours, theirs in [
        ("treatments", "treatments_with_variance"),
        ("Welch, at the end", "final_welch_p_lt_0_05"),
        ("Welch, peeking", "ever_welch_p_lt_0_05_when_peeking_every_snapshot"),
        ("mSPRT", "ever_msprt_p_lt_0_05"),
        ("asymptotic sequence, 1e6 units", "ever_asymptotic_cs_excludes_0"),
    ]:
        assert table[ours].tolist() == published[theirs].astype(int).tolist(), ours
    assert table["snapshots without variance"].sum() == 779
    # Peeking "finds" twice what the honest methods find; those agree with the end within a fifth.
    total = table.sum()
    assert total["Welch, peeking"] > 1.9 * total["mSPRT"]
    for honest in ("mSPRT", "sequence tuned to the end", "group-sequential, 5 looks"):
        assert abs(total[honest] / total["Welch, at the end"] - 1) < 0.2


def test_the_discoveries_at_the_end_are_the_published_ones(replayed: pd.DataFrame, answers: dict[str, Any]) -> None:
    final = replayed.groupby(["experiment_id", "variant_id", "metric_id"])["welch_p"].last().dropna()
    for metric, p_values in final.groupby("metric_id"):
        adjusted = adjust_p_values(p_values.to_numpy(), method="bh").p_value
        assert int((adjusted <= 0.05).sum()) == answers["by_metric"][f"metric_{metric}"]["final_bh_discoveries_q_0_05"]


def test_the_group_sequential_replay_is_the_published_one(replayed: pd.DataFrame, answers: dict[str, Any]) -> None:
    cases = answers["group_sequential_replay"]["cases"]
    assert len(cases) == 40
    series = dict(list(replayed.groupby(["experiment_id", "variant_id", "metric_id"])))
    for case in cases:
        rows = series[case["experiment_id"], case["variant_id"], case["metric_id"]]
        at = [int(np.abs(rows["time_since_start"].to_numpy() - time).argmin()) for time in case["looks_time"]]
        information = (1.0 / (1.0 / rows["count_c"] + 1.0 / rows["count_t"])).to_numpy()
        z = (rows["diff"] / rows["se"]).to_numpy()[at]
        assert (information / information[-1])[at] == pytest.approx(case["info"], rel=REL)
        assert z == pytest.approx(case["z"], rel=REL, abs=1e-9)
        for name, family in FAMILIES.items():
            design = GroupSequentialDesign.equally_spaced(
                len(at), alpha=0.025, sides="one-sided", efficacy=Spending(family=family)
            )
            bounds = monitor(design, case["info"], final=True).upper
            assert bounds == pytest.approx(case[name]["bounds"], rel=1e-6), case["experiment_id"]
            crossed = np.flatnonzero(np.abs(z) >= bounds)
            assert (int(crossed[0]) + 1 if crossed.size else None) == case[name]["first_crossing_look"]


def test_a_real_course_that_loses_its_significance_says_so(replayed: pd.DataFrame) -> None:
    standings = dict.fromkeys(Standing, 0)
    for _, rows in replayed.groupby(["experiment_id", "variant_id", "metric_id"]):
        courses = follow(rows["diff"] - rows["acs_half_width"], rows["diff"] + rows["acs_half_width"])
        excluded = (rows["diff"].abs() > rows["acs_half_width"]).to_numpy()
        assert [course.standing is not Standing.NOT_SIGNIFICANT for course in courses] == list(
            np.logical_or.accumulate(excluded)
        )
        standings[courses[-1].standing] += 1
    assert standings[Standing.WAS_SIGNIFICANT] > 0
    assert (
        standings[Standing.SIGNIFICANT] + standings[Standing.WAS_SIGNIFICANT] + standings[Standing.CONTRADICTED]
        == 20 + 37 + 21 + 22
    )
