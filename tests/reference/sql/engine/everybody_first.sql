-- everybody_first: every exposed unit, in the variant of its first exposure (of two at that moment the first by name),
-- with the reason why it is left out; having seen several variants is none.
-- Grain: one row per unit. Reads: given_exposures, people. Parameters: $start, $end (of the experiment, or the look where
-- that is earlier), $planned_end.
WITH ordered AS (
    SELECT unit_id, variant, exposed_at, row_number() OVER (PARTITION BY unit_id ORDER BY exposed_at, variant) AS place
    FROM given_exposures
)

SELECT
    unit_id, variant, exposed_at AS at,
    CASE
        WHEN exposed_at < $start THEN 'before_start'
        WHEN exposed_at >= $planned_end THEN 'after_end'
        WHEN exposed_at >= $end THEN 'in_the_future'
        WHEN unit_id IN (SELECT anonymous_id FROM people WHERE shared) THEN 'ambiguous_identity'
    END AS reason
FROM ordered
WHERE place = 1
