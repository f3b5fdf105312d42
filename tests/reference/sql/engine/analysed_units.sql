-- analysed_units: exposed units that nothing leaves out.
-- Grain: one row per unit. Reads: everybody.
SELECT e.unit_id, e.variant, e.at
FROM everybody AS e
WHERE e.reason IS NULL
