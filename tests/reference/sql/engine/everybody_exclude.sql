-- everybody_exclude: every exposed unit, in the variant of its first exposure (of two at that moment the first by
-- name), with the reason why it is left out: one that saw several variants before the end is.
-- Grain: one row per unit. Reads: given_exposures, people. Parameters: $start, $end (of the experiment, or the look where
-- that is earlier), $planned_end.
WITH unit AS (
    SELECT unit_id, min(exposed_at) AS since, count(DISTINCT variant) FILTER (exposed_at < $end) AS variants
    FROM given_exposures
    GROUP BY unit_id
),

named AS (
    SELECT x.unit_id, min(x.variant) AS variant
    FROM given_exposures AS x
    JOIN unit ON unit.unit_id = x.unit_id AND unit.since = x.exposed_at
    GROUP BY x.unit_id
)

SELECT
    unit.unit_id, named.variant, unit.since AS at,
    CASE
        WHEN unit.since < $start THEN 'before_start'
        WHEN unit.since >= $planned_end THEN 'after_end'
        WHEN unit.since >= $end THEN 'in_the_future'
        WHEN unit.variants > 1 THEN 'several_variants'
        WHEN unit.unit_id IN (SELECT anonymous_id FROM people WHERE shared) THEN 'ambiguous_identity'
    END AS reason
FROM unit
JOIN named ON named.unit_id = unit.unit_id
