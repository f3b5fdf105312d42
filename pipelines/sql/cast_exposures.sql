-- cast_exposures: rows of a source as typed exposures, each with the reason why it cannot be accepted, if any.
-- Grain: one row per row of the source, in its order.
-- Reads: source_rows, whose columns are text, or typed where the source is typed; known_variants, what is defined.
-- The reason 'unknown' is spelled out later, with the nearest name.
WITH typed AS (
    SELECT *, coalesce(time_typed, utc_time(time_text)) AS moment, id_number(unit_text) AS unit_id
    FROM source_rows
)

SELECT
    typed.*,
    CASE
        WHEN id_text <> '' THEN id_number(id_text)
        ELSE id_number(
            concat_ws(
                '|', unit_id, epoch_us(moment), strlen(typed.experiment), typed.experiment,
                strlen(typed.variant), typed.variant, attributes
            )
        )
    END AS row_id,
    CASE
        WHEN line_reason IS NULL
            AND is_plain(unit_text)
            AND is_in_range(moment, known_variants.earliest, latest)
            AND known_variants.experiment IS NOT NULL
            AND (id_text IS NULL OR is_plain(id_text))
            THEN NULL
        WHEN line_reason IS NOT NULL THEN line_reason
        WHEN text_reason('experiment', typed.experiment) IS NOT NULL THEN text_reason('experiment', typed.experiment)
        WHEN text_reason('unit_id', unit_text) IS NOT NULL THEN text_reason('unit_id', unit_text)
        WHEN text_reason('variant', typed.variant) IS NOT NULL THEN text_reason('variant', typed.variant)
        WHEN time_reason('exposed_at', time_text, moment, known_variants.earliest, latest) IS NOT NULL
            THEN time_reason('exposed_at', time_text, moment, known_variants.earliest, latest)
        WHEN NOT is_plain_id(id_text) AND strlen(id_text) > 512 THEN 'too_long|exposure_id is longer than 512 bytes'
        WHEN NOT is_plain_id(id_text) THEN 'control_characters|exposure_id holds control characters'
        WHEN known_variants.experiment IS NULL THEN 'unknown'
    END AS reason
FROM typed
LEFT JOIN known_variants ON typed.experiment = known_variants.experiment AND typed.variant = known_variants.variant
