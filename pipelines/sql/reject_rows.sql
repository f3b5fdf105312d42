-- reject_rows: rows of the chunk that have a reason, unless the same text was refused before.
-- Grain: one row per new refusal. A reason of the chunk is its code, a bar, and its sentence. Reads: chunk, rejected, batches. Parameters: batch_id, table_name, source.
INSERT INTO rejected
SELECT $batch_id AS batch_id, $table_name AS table_name, row_number, reason, raw, NULL AS resolved_batch_id, code
FROM (
    SELECT
        row_number,
        split_part(reason, '|', 1) AS code,
        substr(reason, instr(reason, '|') + 1) AS reason,
        coalesce(raw, '') AS raw
    FROM chunk
    WHERE reason IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY raw ORDER BY row_number) = 1
) AS refused
ANTI JOIN (
    SELECT raw
    FROM rejected
    WHERE table_name = $table_name
        AND (batch_id = $batch_id OR batch_id IN (SELECT batch_id FROM batches WHERE source = $source))
) AS before USING (raw)
