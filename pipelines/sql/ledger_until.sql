-- ledger_until: what the ledger says of the batches up to one of them, as one text.
-- Grain: one row. Reads: batches. Parameters: $batch.
SELECT md5(string_agg(concat_ws(' ', batch_id, table_name, content_hash, accepted, finished_at), ';' ORDER BY batch_id)) AS digest
FROM batches
WHERE batch_id <= $batch
