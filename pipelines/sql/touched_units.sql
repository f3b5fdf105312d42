-- touched_units: units of `assignments` whose numbers may differ from those that were kept.
-- Grain: one row per unit_key. Reads: assignments, other_exposures (keys of units whose first exposure is new or another), event_rows.
-- Parameters: $batch (the last batch that was in them), $since (events from then on were not in them), $until (nor are those
-- from then on today), $codes (event names).
CREATE OR REPLACE TEMP TABLE touched_units AS
SELECT unit_key, unit_id, exposed_at
FROM assignments
WHERE unit_key IN (SELECT unit_key FROM other_exposures)
    OR unit_id IN (
        SELECT unit_id
        FROM event_rows
        WHERE event_code IN (SELECT unnest($codes::INTEGER[]))
            AND occurred_at < $until::TIMESTAMP
            AND (batch_id > $batch OR occurred_at >= $since::TIMESTAMP)
    )
