-- rollout_seen_units: what rollout_seen holds, by the key of the unit, in the order in which it was seen.
-- Grain: one row per unit_key, variant and stage. Reads: rollout_seen, assignments. Parameters: $variants.
SELECT assignments.unit_key, variant, stage, first_at, last_at
FROM rollout_seen
JOIN assignments USING (unit_id)
WHERE variant IN (SELECT unnest($variants::VARCHAR[]))
ORDER BY assignments.unit_key, first_at, stage, variant
