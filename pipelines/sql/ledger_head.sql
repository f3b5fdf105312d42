-- ledger_head: the last batch of the ledger, of what had been ingested by a moment.
-- Grain: one row, none in an empty ledger. Reads: batches. Parameters: $as_of (TIMESTAMP in UTC; NULL for all).
SELECT batch_id, finished_at
FROM batches
WHERE $as_of::TIMESTAMP IS NULL OR finished_at <= $as_of
ORDER BY batch_id DESC
LIMIT 1
