-- quality_batches: the newest batches of the ledger.
-- Grain: one row per batch_id, the newest first. Reads: batches. Parameters: $most.
SELECT batch_id, table_name, source, path, rows_read, accepted, duplicates, rejected, finished_at
FROM batches
ORDER BY batch_id DESC
LIMIT $most
