-- event_count: how many events there are.
-- Grain: one row. Reads: event_rows.
SELECT count(*) AS events
FROM event_rows
