-- traffic_since: how many units did anything in a span of time, and when the last of it was; and when the first event is.
-- Grain: one row. Reads: event_rows. Parameters: $since, $until.
SELECT
    approx_count_distinct(unit_id) FILTER (occurred_at >= $since::TIMESTAMP AND occurred_at < $until::TIMESTAMP) AS units,
    max(occurred_at) FILTER (occurred_at < $until::TIMESTAMP) AS latest,
    min(occurred_at) AS first
FROM event_rows
