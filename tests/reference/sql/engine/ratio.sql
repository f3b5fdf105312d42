-- ratio: purchase values over views, both after first exposure.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT
    u.unit_id, u.variant, u.at,
    coalesce(sum(e.value) FILTER (e.event = 'purchase'), 0) AS x,
    count(*) FILTER (e.event = 'view')::DOUBLE AS y
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event IN ('purchase', 'view') AND e.occurred_at < $end AND e.occurred_at >= u.at
GROUP BY ALL
