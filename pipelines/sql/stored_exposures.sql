-- stored_exposures: rows of the chunk that the warehouse has already.
-- Grain: one row per such row. Reads: chunk; of exposure_rows only the chunk's days, and only batches of the same source.
-- Parameters: source, batch_id (the batch that is being loaded), first_day, last_day.
-- The chunk's ids go into the hash table and its filter, not those of the history, which is long and mostly no match.
WITH same_id AS MATERIALIZED (
    SELECT exposure_id, exposed_at::DATE AS day, batch_id
    FROM exposure_rows
    SEMI JOIN chunk ON exposure_rows.exposure_id = chunk.row_id
    WHERE exposed_at >= $first_day::DATE AND exposed_at < $last_day::DATE + 1
)

SELECT chunk.row_number
FROM chunk
SEMI JOIN (
    SELECT exposure_id, day
    FROM same_id
    WHERE batch_id = $batch_id OR batch_id IN (SELECT batch_id FROM batches WHERE source = $source)
) AS stored ON chunk.row_id = stored.exposure_id AND chunk.moment::DATE = stored.day
WHERE chunk.reason IS NULL
