-- p75_of_largest: the largest purchase per unit in [0, 5) days, 0 without one that has a value, of which the 75th
-- percentile is taken (linear between two values).
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, coalesce(max(e.value), 0) AS x
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end
    AND e.occurred_at >= u.at AND e.occurred_at < u.at + INTERVAL 5 DAY
GROUP BY ALL
