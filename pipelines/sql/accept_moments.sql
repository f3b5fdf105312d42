-- accept_moments: new rows of the chunk into moment_rows.
-- Grain: one row per accepted row. Reads: chunk, duplicates. Parameters: batch_id.
INSERT INTO moment_rows
SELECT
    chunk.row_id AS moment_id,
    chunk.experiment,
    chunk.metric,
    chunk.variant,
    chunk.moment AS day,
    chunk.n,
    chunk.mean,
    chunk.variance,
    chunk.denominator_mean,
    chunk.denominator_variance,
    chunk.covariance,
    $batch_id AS batch_id
FROM chunk
ANTI JOIN duplicates ON chunk.row_number = duplicates.row_number
WHERE chunk.reason IS NULL
