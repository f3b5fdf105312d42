-- identity_fan_out: how many known ids an anonymous one has, and the other way round.
-- Grain: one row. Reads: identity_rows, batches. Parameters: $until, $as_of as in identified_units.
WITH links AS (
    SELECT DISTINCT anonymous_id, known_id
    FROM identity_rows
    WHERE linked_at < $until::TIMESTAMP
        AND ($as_of::TIMESTAMP IS NULL OR batch_id IN (SELECT batch_id FROM batches WHERE finished_at <= $as_of))
),

by_anonymous AS (SELECT anonymous_id, count(*) AS ids FROM links GROUP BY anonymous_id),

by_known AS (SELECT known_id, count(*) AS ids FROM links GROUP BY known_id)

SELECT
    (SELECT count(*) FROM by_anonymous) AS anonymous,
    (SELECT count(*) FROM by_known) AS known,
    (SELECT count(*) FROM by_anonymous WHERE ids > 1) AS anonymous_with_several_known,
    (SELECT count(*) FROM by_known WHERE ids > 1) AS known_with_several_anonymous,
    (SELECT coalesce(max(ids), 0) FROM by_anonymous) AS most_known,
    (SELECT coalesce(max(ids), 0) FROM by_known) AS most_anonymous,
    (SELECT count(*) FROM links) - (SELECT count(*) FROM by_anonymous) AS links_unused
