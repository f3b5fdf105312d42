-- hourly_traffic: units and events of one name per hour of the week (0 is Monday, 00:00 UTC), and the hours counted.
-- Grain: one row per hour of the week that has traffic. Reads: event_rows. Parameters: $code, $since, $until.
WITH hours AS (
    SELECT
        date_trunc('hour', occurred_at) AS hour,
        approx_count_distinct(unit_id) AS units,
        count(DISTINCT unit_id) FILTER (event_code = $code) AS with_event
    FROM event_rows
    WHERE occurred_at >= $since::TIMESTAMP AND occurred_at < $until::TIMESTAMP
    GROUP BY hour
)

SELECT
    ((isodow(hour) - 1) * 24 + date_part('hour', hour))::INTEGER AS hour_of_week,
    avg(units) AS units,
    avg(with_event) AS with_event
FROM hours
GROUP BY hour_of_week
ORDER BY hour_of_week
