-- repeated_rows: how many rows are there more than once: an id is unique within its source and day.
-- Grain: one row per table that has such rows. Reads: event_rows, exposure_rows, batches.
SELECT table_name, sum(rows - 1)::BIGINT AS repeated
FROM (
    SELECT 'events' AS table_name, count(*) AS rows
    FROM event_rows
    JOIN batches USING (batch_id)
    GROUP BY event_id, occurred_at::DATE, source
    HAVING count(*) > 1
    UNION ALL
    SELECT 'exposures' AS table_name, count(*) AS rows
    FROM exposure_rows
    JOIN batches USING (batch_id)
    GROUP BY exposure_id, exposed_at::DATE, source
    HAVING count(*) > 1
) AS repeated
GROUP BY table_name
ORDER BY table_name
