-- write_ledger: the entry of a batch that is complete.
-- Grain: one row.
INSERT INTO batches
VALUES (
    $batch_id, $table_name, $source, $path, $content_hash, $rows_read, $accepted, $duplicates, $rejected,
    $started_at, $finished_at
)
