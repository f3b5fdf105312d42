-- refusals: the most frequent reasons of a batch.
-- Grain: one row per reason, at most ten. Parameters: batch_id.
SELECT code, reason, count(*) AS rows, min(row_number) AS first_row
FROM rejected
WHERE batch_id = $batch_id
GROUP BY code, reason
ORDER BY rows DESC, first_row
LIMIT 10
