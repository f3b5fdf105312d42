-- days_with_events: whether the warehouse has any rows of these days, of whatever source.
-- Grain: one row. Reads: event_rows, as far as their zone maps do not tell. Parameters: first_day, last_day.
SELECT EXISTS (
    SELECT 1 FROM event_rows WHERE occurred_at >= $first_day::DATE AND occurred_at < $last_day::DATE + 1
) AS found
