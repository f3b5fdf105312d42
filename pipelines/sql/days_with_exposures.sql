-- days_with_exposures: whether the warehouse has any rows of these days, of whatever source.
-- Grain: one row. Reads: exposure_rows, as far as their zone maps do not tell. Parameters: first_day, last_day.
SELECT EXISTS (
    SELECT 1 FROM exposure_rows WHERE exposed_at >= $first_day::DATE AND exposed_at < $last_day::DATE + 1
) AS found
