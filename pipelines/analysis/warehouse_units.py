"""Exposed units of an experiment by reason as an expression: exposed = analysed + excluded, in any warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import ibis

from pipelines.analysis.assignments import AFTER, BEFORE, FUTURE, REASONS, SEVERAL, UNKNOWN
from pipelines.analysis.given_units import ANALYSED, EXPOSED, PREFIX
from pipelines.analysis.warehouse_columns import Day, WarehouseTables, days_table, words_table
from pipelines.definitions.experiments import Experiment

COUNTED = (ANALYSED, *(REASONS[reason] for reason in (SEVERAL, BEFORE, AFTER, FUTURE, UNKNOWN)))
"""What can become of a unit here; identities and activation are refused."""


def unit_rows(
    tables: WarehouseTables, experiment: Experiment, exposed: ibis.Table, over: Sequence[Day], *, until: datetime
) -> ibis.Table:
    """A row per count, variant and day, cumulative: `metric` (`units:...`), `variant`, `day`, `n`; the rest is NULL.

    Parameters
    ----------
    exposed
        As `exposed_units` makes it.
    over
        Days. Units whose first exposure is after the experiment's end or `until` (aware) count on the last one.

    Notes
    -----
    A count of 0 has a row as well, so that it replaces what was loaded before; variants that are not defined have rows
    where they have units.
    """
    names = [variant.name for variant in experiment.variants]
    each_day = days_table(tables, over, experiment.end)
    by_day = exposed.cross_join(each_day)
    outside = by_day.since >= tables.moment(min(until, experiment.end))
    on_last = by_day.closes >= tables.moment(over[-1][1])
    by_day = by_day.filter((by_day.since < by_day.closes) | (outside & on_last))
    counts = by_day.group_by(arm=by_day.variant, at_day=by_day.day).aggregate(
        exposed=by_day.count(), **{name: ibis.cases((by_day.status == name, 1)).count() for name in COUNTED}
    )
    unknown = exposed.filter(exposed.variant.notin(names)).select("variant").distinct()
    cells = ibis.union(words_table("variant", names), unknown).cross_join(each_day.select("day"))
    cells = cells.cross_join(words_table("metric", [PREFIX + name for name in (EXPOSED, *COUNTED)]))
    table = cells.left_join(counts, [cells.variant == counts.arm, cells.day == counts.at_day])
    chosen = ibis.cases(*((table.metric == PREFIX + name, table[name]) for name in (EXPOSED, *COUNTED)))
    table = table.mutate(n=ibis.coalesce(chosen, 0))
    nothing = {
        name: ibis.null("float64")
        for name in ("mean", "variance", "denominator_mean", "denominator_variance", "covariance")
    }
    return table.filter(table.variant.isin(names) | (table.n > 0)).select(
        "metric", "variant", "day", "n", experiment=ibis.literal(experiment.name), **nothing
    )
