-- hourly_events: events of one name per hour, all together or by the attribute `instance`.
-- Grain: one row per hour since $since and instance ('' for all together). Reads: event_rows. Parameters: $code, $since,
-- $until, $by_instance.
SELECT
    (epoch_us(occurred_at) - epoch_us($since::TIMESTAMP)) // 3600000000 AS hour,
    CASE WHEN $by_instance THEN coalesce(attributes ->> '$.instance', '') ELSE '' END AS instance,
    count(*) AS events,
    sum(value) AS total,
    count(value) AS valued
FROM event_rows
WHERE event_code = $code AND occurred_at >= $since::TIMESTAMP AND occurred_at < $until::TIMESTAMP
GROUP BY ALL
ORDER BY ALL
