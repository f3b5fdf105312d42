-- stored_moments: rows of the chunk that the warehouse has already, as the last of their metric, variant and day.
-- Grain: one row per such row. Reads: chunk; of moment_rows only the chunk's days and batches of the same source.
-- Parameters: source, batch_id (the batch that is being loaded), first_day, last_day.
SELECT chunk.row_number
FROM chunk
SEMI JOIN (
    SELECT arg_max(moment_id, batch_id) AS moment_id
    FROM moment_rows
    WHERE day >= $first_day::DATE AND day < $last_day::DATE + 1
        AND (batch_id = $batch_id OR batch_id IN (SELECT batch_id FROM batches WHERE source = $source))
    GROUP BY experiment, metric, variant, day
) AS stored ON chunk.row_id = stored.moment_id
WHERE chunk.reason IS NULL
