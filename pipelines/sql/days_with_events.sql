-- days_with_events: the first and the last of these days on which the warehouse has any rows, of whatever source.
-- Grain: one row; NULL where there are none. Reads: event_rows. Parameters: first_day, last_day.
SELECT min(occurred_at)::DATE AS first_day, max(occurred_at)::DATE AS last_day
FROM event_rows
WHERE occurred_at >= $first_day::DATE AND occurred_at < $last_day::DATE + 1
