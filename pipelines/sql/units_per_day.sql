-- units_per_day: how many units in the analysis entered on each day of one experiment.
-- Grain: one row per day since the start (0 is the first); days without new units have no row.
-- Reads: first_exposures. Parameter: $start (TIMESTAMP in UTC).
SELECT
    floor(epoch_us(exposed_at - $start::TIMESTAMP) / 86400000000)::BIGINT AS day,
    count(*) AS units
FROM first_exposures
WHERE excluded IS NULL
GROUP BY day
ORDER BY day
