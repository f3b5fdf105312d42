-- proportion: share of units with a purchase within 7 days of first exposure. Grain: one row per variant.
SELECT variant, count(*) AS n, avg(bought) AS mean, var_samp(bought) AS variance
FROM (
    SELECT
        units.unit_id, units.variant,
        CASE WHEN EXISTS (
            SELECT 1 FROM events
            WHERE events.unit_id = units.unit_id AND events.event = 'purchase'
                AND events.occurred_at >= units.exposed_at
                AND events.occurred_at < units.exposed_at + INTERVAL 7 DAY
                AND events.occurred_at < TIMESTAMP '2026-03-16'
        ) THEN 1.0 ELSE 0.0 END AS bought
    FROM units
)
GROUP BY variant
