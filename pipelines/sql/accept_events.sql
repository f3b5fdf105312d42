-- accept_events: new rows of the chunk into event_rows.
-- Grain: one row per accepted event. Reads: chunk, duplicates. Parameters: batch_id.
INSERT INTO event_rows
SELECT
    chunk.row_id AS event_id,
    chunk.unit_id,
    chunk.event_code,
    chunk.moment AS occurred_at,
    chunk.value,
    chunk.attributes,
    $batch_id AS batch_id
FROM chunk
ANTI JOIN duplicates ON chunk.row_number = duplicates.row_number
WHERE chunk.reason IS NULL
