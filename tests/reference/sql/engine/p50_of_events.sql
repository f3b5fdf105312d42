-- p50_of_events: every purchase with a value, of which the median is taken (linear between two values).
-- Grain: one row per event. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, e.value AS x
FROM oracle_units AS u
JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end AND e.occurred_at >= u.at
WHERE e.value IS NOT NULL
