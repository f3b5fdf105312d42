-- exposures_of_people: exposures under the known id of an anonymous one; a known id is not looked up again.
-- Grain: one row per exposure. Reads: given_exposures, people.
SELECT x.* REPLACE (CASE WHEN p.unit_id IS NULL THEN x.unit_id ELSE p.unit_id END AS unit_id)
FROM given_exposures AS x
LEFT JOIN people AS p ON p.anonymous_id = x.unit_id
