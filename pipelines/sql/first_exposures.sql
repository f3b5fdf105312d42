-- first_exposures: when each unit entered one experiment, with which variant, and why it is left out if it is.
-- Grain: one row per unit_id.
-- Reads: exposures. Parameters: $experiment, $variants (the defined ones), $start, $end, $now (TIMESTAMP in UTC).
-- excluded is NULL for units in the analysis. Only variants seen before the end make a unit one of several variants:
-- what everybody gets afterwards is no contamination. Of two variants at the same moment the first by name is taken.
CREATE OR REPLACE TEMP TABLE first_exposures AS
WITH seen AS (
    SELECT
        unit_id,
        min(exposed_at) AS exposed_at,
        arg_min(variant, {'at': exposed_at, 'name': variant}) AS variant,
        count(DISTINCT variant) FILTER (exposed_at < least($end::TIMESTAMP, $now::TIMESTAMP)) AS variants
    FROM exposures
    WHERE experiment = $experiment
    GROUP BY unit_id
)
SELECT
    unit_id,
    variant,
    exposed_at,
    CASE
        WHEN NOT list_contains($variants::VARCHAR[], variant) THEN 'unknown_variant'
        WHEN exposed_at < $start::TIMESTAMP THEN 'before_start'
        WHEN exposed_at >= $end::TIMESTAMP THEN 'after_end'
        WHEN exposed_at >= $now::TIMESTAMP THEN 'in_the_future'
        WHEN variants > 1 THEN 'several_variants'
    END AS excluded
FROM seen
