-- moving_cap_of_ratio: purchase values, at most their 90th percentile among the units of this look and at least 1, over
-- views, at most 2.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
WITH plain AS (
    SELECT
        u.unit_id, u.variant, u.at,
        coalesce(sum(e.value) FILTER (e.event = 'purchase'), 0) AS x,
        count(*) FILTER (e.event = 'view') AS y
    FROM oracle_units AS u
    LEFT JOIN given_events AS e
        ON e.unit_id = u.unit_id AND e.event IN ('purchase', 'view') AND e.occurred_at < $end AND e.occurred_at >= u.at
    GROUP BY u.unit_id, u.variant, u.at
)

SELECT
    p.unit_id, p.variant, p.at,
    greatest(1, least(p.x, (SELECT quantile_cont(x, 0.9) FROM plain))) AS x,
    least(p.y, 2) AS y,
    (SELECT quantile_cont(x, 0.9) FROM plain) AS x_high
FROM plain AS p
