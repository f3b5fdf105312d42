-- events_of_people: events under the known id of an anonymous one; those of a shared id are nobody's.
-- Grain: one row per event that is somebody's. Reads: given_events, people.
SELECT e.* REPLACE (CASE WHEN p.unit_id IS NULL THEN e.unit_id ELSE p.unit_id END AS unit_id)
FROM given_events AS e
LEFT JOIN people AS p ON p.anonymous_id = e.unit_id
WHERE p.shared IS NULL OR NOT p.shared
