-- add_units: units of the chunk that are new; of two spellings of one number, the first.
-- Grain: one row per new unit. Reads: chunk, units.
INSERT INTO units
SELECT unit_id, arg_min(unit_text, row_number) AS unit
FROM chunk
ANTI JOIN units USING (unit_id)
WHERE reason IS NULL
GROUP BY unit_id
