-- activated_units: units with a view in Germany or Austria in [0, 3) days after first exposure.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at
FROM oracle_units AS u
WHERE EXISTS (
    SELECT 1
    FROM given_events AS e
    WHERE e.unit_id = u.unit_id AND e.event = 'view' AND e.country IN ('DE', 'AT') AND e.occurred_at < $end
        AND e.occurred_at >= u.at AND e.occurred_at < u.at + INTERVAL 3 DAY
)
