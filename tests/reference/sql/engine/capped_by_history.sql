-- capped_by_history: purchase values in [1, 5) days after first exposure, cut at the 80th and 95th percentile of the
-- purchase values of the four days before the start, over all units that did anything in them.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $start, $end.
WITH history AS (
    SELECT coalesce(sum(value) FILTER (event = 'purchase'), 0) AS x
    FROM given_events
    WHERE occurred_at >= $start - INTERVAL 4 DAY AND occurred_at < $start
    GROUP BY unit_id
),

ends AS (
    SELECT quantile_cont(x, 0.8) AS low, quantile_cont(x, 0.95) AS high
    FROM history
)

SELECT
    u.unit_id, u.variant, u.at, greatest(low, least(high, coalesce(sum(e.value), 0))) AS x, low AS x_low, high AS x_high
FROM oracle_units AS u
CROSS JOIN ends
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end
    AND e.occurred_at >= u.at + INTERVAL 1 DAY AND e.occurred_at < u.at + INTERVAL 5 DAY
GROUP BY u.unit_id, u.variant, u.at, low, high
