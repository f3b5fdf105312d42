-- accept_exposures: new rows of the chunk into exposure_rows.
-- Grain: one row per accepted exposure. Reads: chunk, duplicates. Parameters: batch_id.
INSERT INTO exposure_rows
SELECT
    chunk.row_id AS exposure_id,
    chunk.experiment,
    chunk.unit_id,
    chunk.variant,
    chunk.moment AS exposed_at,
    chunk.attributes,
    $batch_id AS batch_id
FROM chunk
ANTI JOIN duplicates ON chunk.row_number = duplicates.row_number
WHERE chunk.reason IS NULL
