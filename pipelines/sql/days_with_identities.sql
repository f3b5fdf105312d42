-- days_with_identities: the first and the last of these days on which the warehouse has any rows, of whatever source.
-- Grain: one row; NULL where there are none. Reads: identity_rows. Parameters: first_day, last_day.
SELECT min(linked_at)::DATE AS first_day, max(linked_at)::DATE AS last_day
FROM identity_rows
WHERE linked_at >= $first_day::DATE AND linked_at < $last_day::DATE + 1
