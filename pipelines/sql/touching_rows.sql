-- touching_rows: batches whose exposures or events can change what a look showed.
-- Grain: one row per batch_id. Reads: batches, exposure_rows, event_rows. Parameters: $moment (of the look, TIMESTAMP in
-- UTC), $after (only batches after this one), $experiment, $variants (those it defines: an unknown one blocks a look
-- whenever it was seen), $until (end of the experiment or moment of the look), $codes (event names that the look reads),
-- $identified (anonymous ids count for known units: events of any id may matter), $history (events of any name and unit
-- before it were read as history; NULL for none).
WITH later AS (
    SELECT batch_id FROM batches WHERE finished_at > $moment AND batch_id > $after
)

SELECT DISTINCT batch_id
FROM exposure_rows
WHERE batch_id > $after AND batch_id IN (SELECT batch_id FROM later)
    AND experiment = $experiment
    AND (exposed_at < $until::TIMESTAMP OR NOT list_contains($variants::VARCHAR[], variant))
UNION
SELECT DISTINCT batch_id
FROM event_rows
WHERE batch_id > $after AND batch_id IN (SELECT batch_id FROM later)
    AND (
        occurred_at < $history::TIMESTAMP
        OR (
            occurred_at < $until::TIMESTAMP
            AND event_code IN (SELECT unnest($codes::INTEGER[]))
            AND ($identified OR unit_id IN (SELECT unit_id FROM exposure_rows WHERE experiment = $experiment))
        )
    )
