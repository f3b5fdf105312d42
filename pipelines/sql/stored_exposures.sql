-- stored_exposures: rows of the chunk that the warehouse has already.
-- Grain: one row per such row. Reads: chunk and exposure_rows, both only the days given, and batches of the same source.
-- Parameters: source, batch_id (the batch that is being loaded), first_day, last_day.
-- The chunk's ids go into the hash table and its filter, not those of the history, which is long and mostly no match.
WITH new AS (
    SELECT row_id, moment::DATE AS day, row_number
    FROM chunk
    WHERE reason IS NULL AND moment >= $first_day::DATE AND moment < $last_day::DATE + 1
),

same_id AS MATERIALIZED (
    SELECT exposure_id, exposed_at::DATE AS day, batch_id
    FROM exposure_rows
    SEMI JOIN new ON exposure_rows.exposure_id = new.row_id
    WHERE exposed_at >= $first_day::DATE AND exposed_at < $last_day::DATE + 1
)

SELECT new.row_number
FROM new
SEMI JOIN (
    SELECT exposure_id, day
    FROM same_id
    WHERE batch_id = $batch_id OR batch_id IN (SELECT batch_id FROM batches WHERE source = $source)
) AS stored ON new.row_id = stored.exposure_id AND new.day = stored.day
