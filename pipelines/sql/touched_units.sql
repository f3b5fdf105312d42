-- touched_units: units of `assignments` whose numbers may differ from those that were kept, and which events touch them.
-- Grain: one row per unit_key and event_code; event_code is NULL where the first exposure is new or another, which touches
-- all numbers. Reads: assignments, other_exposures (keys of units whose first exposure is new or another), event_rows.
-- Parameters: $batch (the last batch that was in them), $since (events from then on were not in them), $until (nor are those
-- from then on today), $codes (event names).
CREATE OR REPLACE TEMP TABLE touched_units AS
SELECT unit_key, unit_id, exposed_at, NULL::INTEGER AS event_code
FROM assignments
WHERE unit_key IN (SELECT unit_key FROM other_exposures)
UNION ALL
SELECT unit_key, unit_id, exposed_at, new_events.event_code
FROM assignments
JOIN (
    SELECT DISTINCT unit_id, event_code
    FROM event_rows
    WHERE event_code IN (SELECT unnest($codes::INTEGER[]))
        AND occurred_at < $until::TIMESTAMP
        AND (batch_id > $batch OR occurred_at >= $since::TIMESTAMP)
) AS new_events USING (unit_id)
