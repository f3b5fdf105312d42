-- chunk_duplicates: rows of the chunk that repeat an earlier row of it.
-- Grain: one row per repeating row. Reads: chunk. An id is unique within its day.
SELECT row_number
FROM chunk
WHERE reason IS NULL
QUALIFY row_number() OVER (PARTITION BY row_id, moment::DATE ORDER BY row_number) > 1
