-- time_to_event: days to the first purchase, at most 5, of units whose fifth day is over.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT
    u.unit_id, u.variant, u.at,
    coalesce(min(epoch_us(e.occurred_at) - epoch_us(u.at)) / 86400e6, 5) AS x
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end
    AND e.occurred_at >= u.at AND e.occurred_at < u.at + INTERVAL 5 DAY
WHERE u.at + INTERVAL 5 DAY <= $end
GROUP BY ALL
