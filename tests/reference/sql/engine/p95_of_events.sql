-- p95_of_events: every view in Germany or Austria with a value in [0, 7) days after first exposure, of which the 95th
-- percentile is taken (linear between two values).
-- Grain: one row per event. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, e.value AS x
FROM oracle_units AS u
JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event = 'view' AND e.country IN ('DE', 'AT') AND e.occurred_at < $end
    AND e.occurred_at >= u.at AND e.occurred_at < u.at + INTERVAL 7 DAY
WHERE e.value IS NOT NULL
