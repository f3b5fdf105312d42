-- count: page views per unit from first exposure until the end of the experiment. Grain: one row per variant.
SELECT variant, count(*) AS n, avg(views) AS mean, var_samp(views) AS variance
FROM (
    SELECT units.unit_id, units.variant, count(events.unit_id) AS views
    FROM units
    LEFT JOIN events
        ON events.unit_id = units.unit_id AND events.event = 'page_view'
        AND events.occurred_at >= units.exposed_at AND events.occurred_at < TIMESTAMP '2026-03-16'
    GROUP BY units.unit_id, units.variant
)
GROUP BY variant
