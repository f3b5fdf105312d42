-- ledger_differences: batches whose rows are not as many as the ledger says, and rows of no batch.
-- Grain: one row per such batch. Reads: batches, event_rows, exposure_rows, identity_rows, rejected.
WITH stored AS (
    SELECT batch_id, sum(rows) AS rows
    FROM (
        SELECT batch_id, count(*) AS rows FROM event_rows GROUP BY batch_id
        UNION ALL
        SELECT batch_id, count(*) AS rows FROM exposure_rows GROUP BY batch_id
        UNION ALL
        SELECT batch_id, count(*) AS rows FROM identity_rows GROUP BY batch_id
    ) AS facts
    GROUP BY batch_id
),

refused AS (SELECT batch_id, count(*) AS rows FROM rejected GROUP BY batch_id)

SELECT
    coalesce(batches.batch_id, stored.batch_id, refused.batch_id) AS batch_id,
    coalesce(batches.accepted, 0) AS accepted,
    coalesce(batches.rejected, 0) AS rejected,
    coalesce(stored.rows, 0)::BIGINT AS stored,
    coalesce(refused.rows, 0) AS refused
FROM batches
FULL JOIN stored ON batches.batch_id = stored.batch_id
FULL JOIN refused ON coalesce(batches.batch_id, stored.batch_id) = refused.batch_id
WHERE batches.batch_id IS NULL
    OR batches.accepted <> coalesce(stored.rows, 0)
    OR batches.rejected <> coalesce(refused.rows, 0)
ORDER BY batch_id
