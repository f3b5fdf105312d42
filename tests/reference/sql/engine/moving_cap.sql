-- moving_cap: purchase values in [1, 5) days after first exposure, cut at the 5th and 95th percentile of the units that
-- are in the metric at this look.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
WITH plain AS (
    SELECT u.unit_id, u.variant, u.at, coalesce(sum(e.value), 0) AS x
    FROM oracle_units AS u
    LEFT JOIN given_events AS e
        ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end
        AND e.occurred_at >= u.at + INTERVAL 1 DAY AND e.occurred_at < u.at + INTERVAL 5 DAY
    GROUP BY u.unit_id, u.variant, u.at
),

ends AS (
    SELECT quantile_cont(x, 0.05) AS low, quantile_cont(x, 0.95) AS high
    FROM plain
)

SELECT p.unit_id, p.variant, p.at, greatest(low, least(high, p.x)) AS x, low AS x_low, high AS x_high
FROM plain AS p
CROSS JOIN ends
