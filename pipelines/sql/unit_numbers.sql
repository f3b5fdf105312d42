-- unit_numbers: how many units the warehouse knows.
-- Grain: one row. Reads: units.
SELECT count(*) AS units
FROM units
