-- people_strict: anonymous ids with one known id are that one; those with several are nobody in particular.
-- Grain: one row per anonymous id. Reads: given_links.
SELECT
    anonymous_id,
    CASE WHEN min(known_id) = max(known_id) THEN min(known_id) ELSE anonymous_id END AS unit_id,
    min(known_id) <> max(known_id) AS shared
FROM given_links
GROUP BY anonymous_id
