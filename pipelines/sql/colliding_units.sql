-- colliding_units: rows of the chunk whose unit has the number of another unit in the dictionary.
-- Grain: one row per such row. Reads: chunk, units.
SELECT
    chunk.row_number,
    'colliding_id|unit_id ' || left(chunk.unit_text, 100) || ' has the same number as unit ' || left(units.unit, 100)
    || '; rename one of them' AS reason,
    json_object(
        'experiment', chunk.experiment, 'exposed_at', chunk.moment, 'unit_id', chunk.unit_text, 'variant', chunk.variant
    )::VARCHAR AS raw
FROM chunk
JOIN units USING (unit_id)
WHERE chunk.reason IS NULL AND chunk.unit_text <> units.unit
ORDER BY chunk.row_number
