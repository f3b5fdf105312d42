-- everybody_as_assigned: every exposed unit from its first exposure on, with the reason why it is left out; one that saw
-- several variants before the end is in the variant that the attribute `assigned` of its exposures before the end names,
-- else in the one it saw most often by then (of equals the one it saw first, of these the first by name).
-- Grain: one row per unit. Reads: given_exposures, people. Parameters: $start, $end (of the experiment, or the look where
-- that is earlier), $planned_end.
WITH seen AS (
    SELECT unit_id, variant, count(*) AS times, min(exposed_at) AS since, max(assigned) AS assigned
    FROM given_exposures
    WHERE exposed_at < $end
    GROUP BY unit_id, variant
),

usual AS (
    SELECT
        unit_id,
        count(*) AS variants,
        max(assigned) AS assigned,
        arg_min(variant, (-times, since, variant)) AS most_seen
    FROM seen
    GROUP BY unit_id
),

first AS (
    SELECT unit_id, min(exposed_at) AS at, arg_min(variant, (exposed_at, variant)) AS variant
    FROM given_exposures
    GROUP BY unit_id
)

SELECT
    first.unit_id,
    CASE WHEN usual.variants > 1 THEN coalesce(usual.assigned, usual.most_seen) ELSE first.variant END AS variant,
    first.at,
    CASE
        WHEN first.at < $start THEN 'before_start'
        WHEN first.at >= $planned_end THEN 'after_end'
        WHEN first.at >= $end THEN 'in_the_future'
        WHEN first.unit_id IN (SELECT anonymous_id FROM people WHERE shared) THEN 'ambiguous_identity'
    END AS reason
FROM first
LEFT JOIN usual ON usual.unit_id = first.unit_id
