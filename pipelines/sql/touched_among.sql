-- touched_among: units whose numbers that are made from events of some names may differ from those that were kept.
-- Grain: one row per unit_key. Reads: touched_units. Parameters: $codes (event names).
CREATE OR REPLACE TEMP TABLE touched_among AS
SELECT DISTINCT unit_key, unit_id, exposed_at
FROM touched_units
WHERE event_code IS NULL OR event_code IN (SELECT unnest($codes::INTEGER[]))
