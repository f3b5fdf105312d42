-- events_per_code: how many events there are of each name.
-- Grain: one row per event_code. Reads: event_rows.
SELECT event_code, count(*) AS events
FROM event_rows
GROUP BY event_code
