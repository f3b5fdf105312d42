-- stored_identities: rows of the chunk that the warehouse has already.
-- Grain: one row per such row. Reads: chunk; of identity_rows only the chunk's days and batches of the same source.
-- Parameters: source, batch_id (the batch that is being loaded), first_day, last_day.
SELECT chunk.row_number
FROM chunk
SEMI JOIN (
    SELECT link_id, linked_at::DATE AS day
    FROM identity_rows
    WHERE linked_at >= $first_day::DATE AND linked_at < $last_day::DATE + 1
        AND (batch_id = $batch_id OR batch_id IN (SELECT batch_id FROM batches WHERE source = $source))
) AS stored ON chunk.row_id = stored.link_id AND chunk.moment::DATE = stored.day
WHERE chunk.reason IS NULL
