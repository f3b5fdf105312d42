-- accept_identities: new rows of the chunk into identity_rows.
-- Grain: one row per accepted link. Reads: chunk, duplicates. Parameters: batch_id.
INSERT INTO identity_rows
SELECT
    chunk.row_id AS link_id,
    chunk.anonymous_id,
    chunk.unit_id AS known_id,
    chunk.moment AS linked_at,
    $batch_id AS batch_id
FROM chunk
ANTI JOIN duplicates ON chunk.row_number = duplicates.row_number
WHERE chunk.reason IS NULL
