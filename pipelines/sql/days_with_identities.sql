-- days_with_identities: whether the warehouse has any rows of these days, of whatever source.
-- Grain: one row. Reads: identity_rows, as far as their zone maps do not tell. Parameters: first_day, last_day.
SELECT EXISTS (
    SELECT 1 FROM identity_rows WHERE linked_at >= $first_day::DATE AND linked_at < $last_day::DATE + 1
) AS found
