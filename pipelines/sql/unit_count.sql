-- unit_count: how many units assignments holds.
-- Grain: one row. Reads: assignments.
SELECT count(*) AS units
FROM assignments
