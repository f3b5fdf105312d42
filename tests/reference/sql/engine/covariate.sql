-- covariate: purchase values after first exposure, and in the 14 days before it.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT
    u.unit_id, u.variant, u.at,
    coalesce(sum(e.value) FILTER (e.occurred_at >= u.at), 0) AS x,
    coalesce(sum(e.value) FILTER (e.occurred_at < u.at), 0) AS y
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end
    AND e.occurred_at >= u.at - INTERVAL 14 DAY
GROUP BY ALL
