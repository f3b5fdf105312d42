-- retention: 1 for a view in [6, 9) days after first exposure, of units whose ninth day is over.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, (count(e.unit_id) > 0)::DOUBLE AS x
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'view' AND e.occurred_at < $end
    AND e.occurred_at >= u.at + INTERVAL 6 DAY AND e.occurred_at < u.at + INTERVAL 9 DAY
WHERE u.at + INTERVAL 9 DAY <= $end
GROUP BY ALL
