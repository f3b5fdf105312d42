-- identified_units: the unit that each anonymous id of the map is taken for, under one policy.
-- Grain: one row per anonymous_id.
-- Reads: identity_rows, batches. Parameters: $policy (strict, first_touch, last_touch), $until (links at or after it do
-- not count), $as_of (only what had been ingested by then; NULL for all).
-- Of two known ids at the same moment the smaller number is taken. `strict` takes none where there are several: such an
-- id stays itself and is `ambiguous`. A known id is not looked up again: the map has one step.
CREATE OR REPLACE TEMP TABLE identified_units AS
SELECT
    anonymous_id,
    count(DISTINCT known_id) AS known_ids,
    $policy::VARCHAR = 'strict' AND count(DISTINCT known_id) > 1 AS ambiguous,
    CASE
        WHEN $policy::VARCHAR = 'last_touch' THEN arg_max(known_id, {'at': linked_at, 'id': -known_id})
        WHEN $policy::VARCHAR = 'first_touch' OR count(DISTINCT known_id) = 1
            THEN arg_min(known_id, {'at': linked_at, 'id': known_id})
        ELSE anonymous_id
    END AS unit_id
FROM identity_rows
WHERE linked_at < $until::TIMESTAMP
    AND ($as_of::TIMESTAMP IS NULL OR batch_id IN (SELECT batch_id FROM batches WHERE finished_at <= $as_of))
GROUP BY anonymous_id
