-- next_batch: the number of the batch that begins, and whether it may resolve refusals of the same content.
-- Grain: one row. Reads: batches, rejected. Parameters: table_name, source, content_hash.
SELECT
    coalesce(max(batch_id), 0) + 1 AS batch_id,
    EXISTS (
        SELECT 1
        FROM rejected
        JOIN batches AS earlier USING (batch_id)
        WHERE rejected.table_name = $table_name AND rejected.resolved_batch_id IS NULL
            AND earlier.source = $source AND earlier.content_hash = $content_hash
    ) AS resolves
FROM batches
