-- ratio_capped_by_history: purchase values, cut at the 97th percentile of those of the three days before the start, over
-- views in Germany, at least 1 and at most their 90th percentile in the two days before the start; both percentiles over
-- all units that did anything in these days.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $start, $end.
WITH paid AS (
    SELECT coalesce(sum(value) FILTER (event = 'purchase'), 0) AS x
    FROM given_events
    WHERE occurred_at >= $start - INTERVAL 3 DAY AND occurred_at < $start
    GROUP BY unit_id
),

viewed AS (
    SELECT count(*) FILTER (event = 'view' AND country = 'DE') AS y
    FROM given_events
    WHERE occurred_at >= $start - INTERVAL 2 DAY AND occurred_at < $start
    GROUP BY unit_id
),

ends AS (
    SELECT
        (SELECT quantile_cont(x, 0.97) FROM paid) AS x_high,
        (SELECT quantile_cont(y::DOUBLE, 0.9) FROM viewed) AS y_high
)

SELECT
    u.unit_id, u.variant, u.at,
    least(x_high, coalesce(sum(e.value) FILTER (e.event = 'purchase'), 0)) AS x,
    greatest(1, least(y_high, count(*) FILTER (e.event = 'view' AND e.country = 'DE'))) AS y,
    x_high, y_high
FROM oracle_units AS u
CROSS JOIN ends
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event IN ('purchase', 'view') AND e.occurred_at < $end AND e.occurred_at >= u.at
GROUP BY u.unit_id, u.variant, u.at, x_high, y_high
