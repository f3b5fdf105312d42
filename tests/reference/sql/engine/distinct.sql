-- distinct: different items viewed in [0, 10) days.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, count(DISTINCT e.item)::DOUBLE AS x
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'view' AND e.occurred_at < $end AND e.occurred_at >= u.at
    AND e.occurred_at < u.at + INTERVAL 10 DAY
GROUP BY ALL
