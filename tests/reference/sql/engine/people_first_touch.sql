-- people_first_touch: an anonymous id is the known one of its earliest link; of two at that moment the smaller.
-- Grain: one row per anonymous id. Reads: given_links.
SELECT l.anonymous_id, min(l.known_id) AS unit_id, false AS shared
FROM given_links AS l
WHERE NOT EXISTS (
    SELECT 1 FROM given_links AS earlier
    WHERE earlier.anonymous_id = l.anonymous_id AND earlier.linked_at < l.linked_at
)
GROUP BY l.anonymous_id
