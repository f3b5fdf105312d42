-- funnel: 1 for a unit with a view, a cart at most a day after it, and a purchase at most a day after that.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT u.unit_id, u.variant, u.at, EXISTS (
    SELECT 1
    FROM given_events AS v
    JOIN given_events AS c ON c.unit_id = v.unit_id AND c.event = 'cart'
        AND c.occurred_at >= v.occurred_at AND c.occurred_at < v.occurred_at + INTERVAL 1 DAY
    JOIN given_events AS p ON p.unit_id = c.unit_id AND p.event = 'purchase' AND p.occurred_at < $end
        AND p.occurred_at >= c.occurred_at AND p.occurred_at < c.occurred_at + INTERVAL 1 DAY
    WHERE v.unit_id = u.unit_id AND v.event = 'view' AND v.occurred_at >= u.at AND v.occurred_at < $end
        AND c.occurred_at < $end
)::DOUBLE AS x
FROM oracle_units AS u
