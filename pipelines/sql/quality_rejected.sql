-- quality_rejected: refused rows by reason, those that were accepted later apart.
-- Grain: one row per table_name and code, the most frequent first. Reads: rejected.
SELECT
    table_name,
    code,
    count(*) FILTER (resolved_batch_id IS NULL) AS open_rows,
    count(*) FILTER (resolved_batch_id IS NOT NULL) AS resolved_rows,
    max(batch_id) AS last_batch,
    arg_max(reason, (resolved_batch_id IS NULL, batch_id, row_number)) AS reason,
    arg_max(raw, (resolved_batch_id IS NULL, batch_id, row_number)) AS example
FROM rejected
GROUP BY table_name, code
ORDER BY open_rows DESC, resolved_rows DESC, table_name, code
