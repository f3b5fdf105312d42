"""How many treatments peeking "finds" in 78 real experiments, beside the honest methods.

A script: `python tests/bench/asos_peeking.py`.
The data are the cumulative snapshots of the ASOS Digital Experiments Dataset (Liu, Cardoso, Couturier and McCoy 2021,
CC BY 4.0) in the shared folder beside the checkout. A method "finds" a treatment if it rejects at any snapshot (at any
of five looks for the group-sequential design), in either direction, at alpha 0.05 per metric.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stats.effect import Effect, infer
from stats.group_sequential.design import GroupSequentialDesign
from stats.group_sequential.monitoring import monitor
from stats.group_sequential.spending import Spending
from stats.means import welch
from stats.moments import Moments
from stats.sequential.effects import NormalMixture, always_valid
from stats.sequential.running import running_log_p
from stats.status import Status

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "asos"
SERIES = ["experiment_id", "variant_id", "metric_id"]
ALPHA = 0.05
PLANNED_UNITS = 1e6
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)


def load() -> tuple[pd.DataFrame, dict[str, Any]]:
    """Snapshots in the order of the file, and the published counts."""
    rows = pd.read_parquet(FOLDER / "data.parquet")
    return rows, json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))


def effects(rows: pd.DataFrame) -> Effect:
    """Welch's difference of every snapshot."""
    arms = [
        Moments.from_summary(*(rows[f"{name}_{arm}"].to_numpy(float) for name in ("count", "mean", "variance")))
        for arm in "ct"
    ]
    return welch(*arms)


def replay(rows: pd.DataFrame, answers: dict[str, Any]) -> pd.DataFrame:
    """Per snapshot: difference, standard error, Welch's p, mSPRT's running p, half the asymptotic sequence's width."""
    parts = []
    for metric, part in rows.groupby("metric_id", sort=False):
        effect = effects(part)
        units = (part["count_c"] + part["count_t"]).to_numpy(float)
        tau = answers["by_metric"][f"metric_{metric}"]["msprt_tau"]
        mixture = NormalMixture.tuned(PLANNED_UNITS, alpha=ALPHA, tuning="approximate")
        sequence = always_valid(effect, mixture, units=units, confidence=1.0 - ALPHA, reference="normal")
        last = part.groupby(SERIES)["count_c"].transform("last") + part.groupby(SERIES)["count_t"].transform("last")
        # The tuned sequence knows only the planned size: here the one that was reached.
        share = np.divide(units, last, out=np.zeros_like(units), where=last.to_numpy(float) > 0)
        tuned = always_valid(effect, NormalMixture.tuned(1.0, alpha=ALPHA), units=share, confidence=1.0 - ALPHA)
        msprt = always_valid(effect, NormalMixture.of_effects(tau**2), reference="normal")
        parts.append(
            part.assign(
                diff=effect.value,
                se=np.where(effect.usable, effect.se, np.nan),
                status=effect.status,
                welch_p=infer(effect).p_value,
                log_e=msprt.log_e,
                acs_half_width=sequence.high - sequence.value,
                tuned_excludes=np.abs(tuned.statistic) > tuned.critical,
            )
        )
    table = pd.concat(parts).sort_index()
    running = table.groupby(SERIES)["log_e"].transform(lambda log_e: running_log_p(log_e.to_numpy()))
    return table.assign(msprt_p=np.exp(running))


def five_looks(series: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the snapshots nearest to fifths of the final information, and all information rates."""
    with np.errstate(divide="ignore"):
        information = 1.0 / (1.0 / series["count_c"].to_numpy(float) + 1.0 / series["count_t"].to_numpy(float))
    rates = information / information[-1]
    return np.unique([np.abs(rates - share).argmin() for share in SHARES]), rates


def crossing(series: pd.DataFrame, family: str) -> int | None:
    """First of five looks at which a group-sequential design rejects in either direction, from 1; or None."""
    looks, rates = five_looks(series)
    design = GroupSequentialDesign.equally_spaced(
        len(SHARES), alpha=ALPHA / 2, sides="one-sided", efficacy=Spending(family=family)
    )
    bounds = monitor(design, rates[looks], final=True).upper
    z = (series["diff"] / series["se"]).to_numpy(float)[looks]
    crossed = np.flatnonzero(np.abs(z) >= bounds)
    return int(crossed[0]) + 1 if crossed.size else None


def peeking_table(table: pd.DataFrame) -> pd.DataFrame:
    """Treatments found per metric and method."""
    known = table[table["status"] < Status.ZERO_VARIANCE]
    missing = table[table["status"] == Status.INVALID_INPUT]

    def found(test: Callable[[pd.DataFrame], bool]) -> pd.Series:
        return known.groupby(SERIES).apply(test, include_groups=False).groupby("metric_id").sum().astype(int)

    return (
        pd.DataFrame(
            {
                "treatments": known.groupby(SERIES).size().groupby("metric_id").size(),
                "snapshots without variance": missing.groupby("metric_id").size(),
                "Welch, at the end": found(lambda rows: bool(rows["welch_p"].iloc[-1] < ALPHA)),
                "Welch, peeking": found(lambda rows: bool((rows["welch_p"] < ALPHA).any())),
                "mSPRT": found(lambda rows: bool(rows["msprt_p"].iloc[-1] < ALPHA)),
                "asymptotic sequence, 1e6 units": found(
                    lambda rows: bool((rows["diff"].abs() > rows["acs_half_width"]).any())
                ),
                "sequence tuned to the end": found(lambda rows: bool(rows["tuned_excludes"].any())),
                "group-sequential, 5 looks": found(
                    lambda rows: crossing(rows, "lan_demets_obrien_fleming") is not None
                ),
            }
        )
        .fillna(0)
        .astype(int)
    )


def main() -> None:
    """Print the table."""
    if not FOLDER.exists():
        print(f"The ASOS data are not at {FOLDER}: nothing to measure.")
        return
    table = peeking_table(replay(*load()))
    table.loc["all"] = table.sum()
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print(table.rename_axis("metric").T.to_string())


if __name__ == "__main__":
    main()
