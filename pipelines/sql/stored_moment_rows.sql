-- stored_moment_rows: the moments of one experiment that stand.
-- Grain: one row per metric, variant, day. Reads: moment_rows, batches. Parameters: $experiment, $start, $until (days
-- that begin before it), $as_of (only what had been ingested by then; NULL for all).
SELECT metric, variant, day, n, mean, variance, denominator_mean, denominator_variance, covariance
FROM moment_rows
WHERE experiment = $experiment
    AND day >= date_trunc('day', $start::TIMESTAMP) AND day < $until::TIMESTAMP
    AND ($as_of::TIMESTAMP IS NULL OR batch_id IN (SELECT batch_id FROM batches WHERE finished_at <= $as_of))
QUALIFY row_number() OVER (PARTITION BY metric, variant, day ORDER BY batch_id DESC, moment_id) = 1
ORDER BY metric, variant, day
