-- history_units: units that were active before an experiment began, in the layout of assignments.
-- Grain: one row per unit_id. Reads: unit_events, batches. Parameters: $since, $start (TIMESTAMP in UTC), $as_of (only
-- what had been ingested by then; NULL for all).
CREATE OR REPLACE TEMP TABLE assignments AS
SELECT (row_number() OVER (ORDER BY unit_id) - 1)::INTEGER AS unit_key, unit_id, $since::TIMESTAMP AS exposed_at
FROM (
    SELECT DISTINCT unit_id
    FROM unit_events
    WHERE occurred_at >= $since::TIMESTAMP AND occurred_at < $start::TIMESTAMP
        AND ($as_of::TIMESTAMP IS NULL OR batch_id IN (SELECT batch_id FROM batches WHERE finished_at <= $as_of))
)
