-- capped_covariate: purchase values after first exposure, and in the 6 days before it, both at least 5 and at most 60.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT
    u.unit_id, u.variant, u.at,
    greatest(5, least(60, coalesce(sum(e.value) FILTER (e.occurred_at >= u.at), 0))) AS x,
    greatest(5, least(60, coalesce(sum(e.value) FILTER (e.occurred_at < u.at), 0))) AS z
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end
    AND e.occurred_at >= u.at - INTERVAL 6 DAY
GROUP BY ALL
