-- batches_after: batches that brought new rows after a moment, in the order of the ledger.
-- Grain: one row per batch_id. Reads: batches. Parameters: $moment (TIMESTAMP in UTC).
SELECT batch_id, path, finished_at
FROM batches
WHERE finished_at > $moment AND accepted > 0
ORDER BY finished_at, batch_id
