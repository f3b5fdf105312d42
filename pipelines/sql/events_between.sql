-- events_between: how many events of each name happened in a span of time.
-- Grain: one row per event name that has any. Reads: event_rows, event_names. Parameters: $since, $until.
SELECT event_names.event, count(*) AS events
FROM event_rows
JOIN event_names USING (event_code)
WHERE occurred_at >= $since::TIMESTAMP AND occurred_at < $until::TIMESTAMP
GROUP BY event_names.event
