-- batches_as_of: what had been ingested by a moment.
-- Grain: one row per batch_id. Reads: batches. Parameters: $as_of (TIMESTAMP in UTC).
SELECT batch_id
FROM batches
WHERE finished_at <= $as_of
ORDER BY batch_id
