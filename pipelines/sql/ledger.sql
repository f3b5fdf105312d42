-- ledger: what the ledger says of each batch.
-- Grain: one row per batch.
SELECT batch_id, content_hash, rows_read, accepted, duplicates, rejected
FROM batches
ORDER BY batch_id
