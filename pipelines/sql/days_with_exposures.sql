-- days_with_exposures: the first and the last of these days on which the warehouse has any rows, of whatever source.
-- Grain: one row; NULL where there are none. Reads: exposure_rows. Parameters: first_day, last_day.
SELECT min(exposed_at)::DATE AS first_day, max(exposed_at)::DATE AS last_day
FROM exposure_rows
WHERE exposed_at >= $first_day::DATE AND exposed_at < $last_day::DATE + 1
