-- mean: sum of purchase values in [1, 6) days after first exposure; without a value it counts as 0.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, coalesce(sum(e.value), 0) AS x
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end
    AND e.occurred_at >= u.at + INTERVAL 1 DAY AND e.occurred_at < u.at + INTERVAL 6 DAY
GROUP BY ALL
