-- rollout_units: the units of a rollout's run as the engine's reader of events wants them.
-- Grain: one row per unit_id; unit_key counts up from 0 in the order of unit_id. Reads: rollout_seen. Parameters:
-- $variants (only units seen in one of these, from then on).
CREATE OR REPLACE TEMP TABLE assignments AS
SELECT (row_number() OVER (ORDER BY unit_id) - 1)::INTEGER AS unit_key, unit_id, min(first_at) AS exposed_at
FROM rollout_seen
WHERE variant IN (SELECT unnest($variants::VARCHAR[]))
GROUP BY unit_id
