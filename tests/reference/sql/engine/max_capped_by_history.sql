-- max_capped_by_history: the largest purchase, cut at the 90th percentile of those of the 14 days before the start (as
-- long as the experiment, which is shorter than the 28 days of history), over all units that did anything in them.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $start, $end.
WITH history AS (
    SELECT coalesce(max(value) FILTER (event = 'purchase'), 0) AS x
    FROM given_events
    WHERE occurred_at >= $start - INTERVAL 14 DAY AND occurred_at < $start
    GROUP BY unit_id
),

ends AS (
    SELECT quantile_cont(x, 0.9) AS high
    FROM history
)

SELECT u.unit_id, u.variant, u.at, least(high, coalesce(max(e.value), 0)) AS x, high AS x_high
FROM oracle_units AS u
CROSS JOIN ends
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end AND e.occurred_at >= u.at
GROUP BY u.unit_id, u.variant, u.at, high
