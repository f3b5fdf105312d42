-- proportion: 1 for a unit with a purchase in Germany in [0, 7) days after first exposure.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, (count(e.unit_id) > 0)::DOUBLE AS x
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.country = 'DE' AND e.occurred_at < $end
    AND e.occurred_at >= u.at AND e.occurred_at < u.at + INTERVAL 7 DAY
GROUP BY ALL
