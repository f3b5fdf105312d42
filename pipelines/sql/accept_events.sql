-- accept_events: new rows of the chunk into event_rows.
-- Grain: one row per accepted event. Reads: chunk, event_names, duplicates. Parameters: batch_id.
INSERT INTO event_rows
SELECT
    chunk.row_id AS event_id,
    chunk.unit_id,
    event_names.event_code,
    chunk.moment AS occurred_at,
    chunk.value,
    chunk.attributes,
    $batch_id AS batch_id
FROM chunk
JOIN event_names ON chunk.event = event_names.event
ANTI JOIN duplicates ON chunk.row_number = duplicates.row_number
WHERE chunk.reason IS NULL
