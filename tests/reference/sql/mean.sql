-- mean: sum of purchase values per unit within 36 hours of first exposure, 0 without any. Grain: one row per variant.
SELECT variant, count(*) AS n, avg(total) AS mean, var_samp(total) AS variance
FROM (
    SELECT units.unit_id, units.variant, coalesce(sum(events.value), 0) AS total
    FROM units
    LEFT JOIN events
        ON events.unit_id = units.unit_id AND events.event = 'purchase'
        AND events.occurred_at BETWEEN units.exposed_at AND units.exposed_at + INTERVAL 36 HOUR - INTERVAL 1 MICROSECOND
        AND events.occurred_at < TIMESTAMP '2026-03-16'
    GROUP BY units.unit_id, units.variant
)
GROUP BY variant
