-- resolve_rejected: refused rows whose file is read again and whose reason has gone.
-- Grain: one row per resolved refusal. Reads: chunk, batches.
-- Parameters: batch_id, table_name, source, content_hash.
UPDATE rejected
SET resolved_batch_id = $batch_id
WHERE table_name = $table_name
    AND resolved_batch_id IS NULL
    AND batch_id IN (
        SELECT batch_id FROM batches
        WHERE source = $source AND content_hash = $content_hash AND batches.rejected > 0
    )
    AND row_number IN (SELECT row_number FROM chunk WHERE reason IS NULL)
