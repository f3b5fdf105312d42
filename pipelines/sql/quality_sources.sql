-- quality_sources: how fresh each source is.
-- Grain: one row per table_name and source that ever brought a row. Reads: batches, event_rows, exposure_rows.
SELECT
    batches.table_name,
    batches.source,
    sum(batches.accepted)::BIGINT AS accepted,
    sum(batches.duplicates)::BIGINT AS duplicates,
    sum(batches.rejected)::BIGINT AS rejected,
    max(batches.finished_at) AS loaded_at,
    max(newest.moment) AS newest
FROM batches
LEFT JOIN (
    SELECT batch_id, max(occurred_at) AS moment FROM event_rows GROUP BY batch_id
    UNION ALL
    SELECT batch_id, max(exposed_at) AS moment FROM exposure_rows GROUP BY batch_id
) AS newest USING (batch_id)
GROUP BY batches.table_name, batches.source
ORDER BY batches.table_name, batches.source
