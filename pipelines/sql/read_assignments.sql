-- read_assignments: assignments in the order of their keys.
-- Grain: one row per unit_key. Reads: assignments.
SELECT unit_id, place, assigned_place, exposed_at, several, ambiguous
FROM assignments
ORDER BY unit_key
