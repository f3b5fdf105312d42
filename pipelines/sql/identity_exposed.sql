-- identity_exposed: what the map does to the exposed ids of one experiment.
-- Grain: one row. Reads: exposure_rows, batches, identified_units. Parameters: $experiment, $as_of (only what had been
-- ingested by then; NULL for all).
-- ambiguous: exposed ids that are left out. merged: exposed ids beyond the first that became part of one unit.
WITH seen AS (
    SELECT DISTINCT unit_id
    FROM exposure_rows
    WHERE experiment = $experiment
        AND ($as_of::TIMESTAMP IS NULL OR batch_id IN (SELECT batch_id FROM batches WHERE finished_at <= $as_of))
)

SELECT
    count(*) FILTER (identified_units.ambiguous) AS ambiguous,
    count(*) - count(DISTINCT coalesce(identified_units.unit_id, seen.unit_id)) AS merged
FROM seen
LEFT JOIN identified_units ON seen.unit_id = identified_units.anonymous_id
