-- add_event_names: names of the chunk that are new, numbered on from the last.
-- Grain: one row per new event name. Reads: chunk, event_names.
INSERT INTO event_names
SELECT
    (SELECT coalesce(max(event_code), 0) FROM event_names) + row_number() OVER (ORDER BY first_row) AS event_code,
    event
FROM (
    SELECT event, min(row_number) AS first_row
    FROM chunk
    WHERE reason IS NULL
    GROUP BY event
) AS names
WHERE event NOT IN (SELECT event FROM event_names)
