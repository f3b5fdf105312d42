-- capped_covariates_of_ratio: purchase values, cut at the 90th percentile of those of the three days before the start, over
-- views, at least 1 and at most 2; then both in the 4 days before first exposure, cut at the same ends, and the purchase
-- values of these days as another metric, which is not cut.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $start, $end.
WITH paid AS (
    SELECT coalesce(sum(value) FILTER (event = 'purchase'), 0) AS x
    FROM given_events
    WHERE occurred_at >= $start - INTERVAL 3 DAY AND occurred_at < $start
    GROUP BY unit_id
),

sums AS (
    SELECT
        u.unit_id, u.variant, u.at,
        coalesce(sum(e.value) FILTER (e.event = 'purchase' AND e.occurred_at >= u.at), 0) AS x,
        count(*) FILTER (e.event = 'view' AND e.occurred_at >= u.at) AS y,
        coalesce(sum(e.value) FILTER (e.event = 'purchase' AND e.occurred_at < u.at), 0) AS x_before,
        count(*) FILTER (e.event = 'view' AND e.occurred_at < u.at) AS y_before
    FROM oracle_units AS u
    LEFT JOIN given_events AS e
        ON e.unit_id = u.unit_id AND e.event IN ('purchase', 'view') AND e.occurred_at < $end
        AND e.occurred_at >= u.at - INTERVAL 4 DAY
    GROUP BY u.unit_id, u.variant, u.at
),

ends AS (
    SELECT quantile_cont(x, 0.9) AS x_high
    FROM paid
)

SELECT
    s.unit_id, s.variant, s.at,
    least(ends.x_high, s.x) AS x,
    greatest(1, least(2, s.y)) AS y,
    least(ends.x_high, s.x_before) AS z,
    greatest(1, least(2, s.y_before)) AS w,
    s.x_before AS other,
    ends.x_high
FROM sums AS s
CROSS JOIN ends
