-- cast_identities: rows of a source as typed links, each with the reason why it cannot be accepted, if any.
-- Grain: one row per row of the source, in its order.
-- Reads: source_rows, whose columns are text, or typed where the source is typed; unit_text is the known id.
WITH typed AS (
    SELECT
        *,
        coalesce(time_typed, utc_time(time_text)) AS moment,
        id_number(unit_text) AS unit_id,
        id_number(anonymous_text) AS anonymous_id
    FROM source_rows
)

SELECT
    *,
    CASE
        WHEN id_text <> '' THEN id_number(id_text)
        ELSE id_number(concat_ws('|', anonymous_id, unit_id, epoch_us(moment)))
    END AS row_id,
    CASE
        WHEN line_reason IS NULL
            AND is_plain(unit_text)
            AND is_plain(anonymous_text)
            AND is_in_range(moment, NULL, latest)
            AND anonymous_text <> unit_text
            AND (id_text IS NULL OR is_plain(id_text))
            THEN NULL
        WHEN line_reason IS NOT NULL THEN line_reason
        WHEN text_reason('anonymous_id', anonymous_text) IS NOT NULL THEN text_reason('anonymous_id', anonymous_text)
        WHEN text_reason('known_id', unit_text) IS NOT NULL THEN text_reason('known_id', unit_text)
        WHEN time_reason('linked_at', time_text, moment, NULL, latest) IS NOT NULL
            THEN time_reason('linked_at', time_text, moment, NULL, latest)
        WHEN anonymous_text = unit_text THEN 'same_id|anonymous_id and known_id are the same: there is nothing to map'
        WHEN NOT is_plain_id(id_text) AND strlen(id_text) > 512 THEN 'too_long|link_id is longer than 512 bytes'
        WHEN NOT is_plain_id(id_text) THEN 'control_characters|link_id holds control characters'
    END AS reason
FROM typed
