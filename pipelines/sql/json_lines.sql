-- json_lines: lines of text as JSON objects, with the reason where a line is none.
-- Grain: one row per line.
-- Reads: text_lines.
WITH checked AS (
    SELECT
        coalesce(line_reason, CASE WHEN NOT json_valid(line) THEN 'invalid_json|the line is not valid JSON' END) AS line_reason,
        line
    FROM text_lines
),

objects AS (
    SELECT
        coalesce(
            line_reason,
            CASE
                WHEN json_type(CASE WHEN line_reason IS NULL THEN line END) <> 'OBJECT'
                    THEN 'invalid_json|the line is not a JSON object'
            END
        ) AS line_reason,
        line
    FROM checked
)

SELECT
    line_reason,
    line AS line_raw,
    CASE WHEN line_reason IS NULL THEN line END AS object
FROM objects
