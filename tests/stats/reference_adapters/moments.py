"""Sufficient statistics and their merging."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import numpy as np
from reference_adapters.inputs import status

from stats.moments import Moments


def described(result: Moments) -> dict[str, Any]:
    return {
        "n": result.n,
        "mean": result.mean[..., 0],
        "var": result.variance(),
        "status": status(result.status),
    }


def merge(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return described(reduce(add, (Moments.from_rows(shard) for shard in inputs["shards"])))


def merge_covariance(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    shards = (Moments.from_rows(np.column_stack([shard["x"], shard["y"]])) for shard in inputs["shards"])
    return two_columns(reduce(add, shards), "x", "y")


def two_columns(result: Moments, first: str, second: str) -> dict[str, Any]:
    return {
        "n": result.n,
        f"mean_{first}": result.mean[..., 0],
        f"mean_{second}": result.mean[..., 1],
        f"var_{first}": result.variance(0),
        f"var_{second}": result.variance(1),
        "cov": result.covariance(0, 1),
        "status": status(result.status),
    }


def merge_summaries(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    if "shards_rule" in inputs:
        assert inputs["shards_rule"] == "1000 shards, n=1e6, mean_i=10+i*1e-3 (i=0..999), var=4"
        shards = Moments.from_summary(np.full(1000, 1e6), 10 + np.arange(1000) * 1e-3, np.full(1000, 4.0))
    else:
        columns = [[shard[key] for shard in inputs["shards"]] for key in ("n", "mean", "var")]
        shards = Moments.from_summary(*(np.array(c, dtype=float) for c in columns))
    return described(shards.total())


def shifted(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return described(
        Moments.from_shifted_sums(
            inputs["n"], [inputs["sum_shifted"]], [[inputs["sum_sq_shifted"]]], origin=[inputs["origin"]]
        )
    )


def raw(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return described(Moments.from_shifted_sums(inputs["n"], [inputs["sum"]], [[inputs["sum_sq"]]]))


def from_counts(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    return described(Moments.from_counts(inputs["successes"], inputs["n"]))


def ratio_sums(inputs: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    products = [
        [inputs["sum_num2"], inputs["sum_num_den"]],
        [inputs["sum_num_den"], inputs["sum_den2"]],
    ]
    return two_columns(
        Moments.from_shifted_sums(inputs["n"], [inputs["sum_num"], inputs["sum_den"]], products), "num", "den"
    )


ADAPTERS = {
    "merge_mean_variance": merge,
    "merge_covariance": merge_covariance,
    "merge_summaries": merge_summaries,
    "stats_from_shifted_sums": shifted,
    "stats_from_raw_sums": raw,
    "stats_from_counts": from_counts,
    "ratio_moments_from_sums": ratio_sums,
}
