-- capped: sum of purchase values, cut at 5 and 60 per unit.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, greatest(5, least(60, coalesce(sum(e.value), 0))) AS x
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end AND e.occurred_at >= u.at
GROUP BY ALL
