-- exposure_counts: how many units of one experiment are analysed and how many are left out.
-- Grain: one row per variant, excluded (NULL for units in the analysis).
-- Reads: first_exposures.
SELECT variant, excluded, count(*) AS units, max(exposed_at) AS latest
FROM first_exposures
GROUP BY variant, excluded
ORDER BY variant, excluded
