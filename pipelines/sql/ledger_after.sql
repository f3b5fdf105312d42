-- ledger_after: what the ledger says of the batches after a number.
-- Grain: one row per batch.
SELECT batch_id, table_name, path, rows_read, accepted, duplicates, rejected, finished_at
FROM batches
WHERE batch_id > $after
ORDER BY batch_id
