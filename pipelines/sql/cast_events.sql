-- cast_events: rows of a source as typed events, each with the reason why it cannot be accepted, if any.
-- Grain: one row per row of the source, in its order.
-- Reads: source_rows, whose columns are text, or typed where the source is typed.
WITH typed AS (
    SELECT
        *,
        coalesce(time_typed, utc_time(time_text)) AS moment,
        coalesce(value_typed, CASE WHEN value_text <> '' THEN TRY_CAST(value_text AS DOUBLE) END) AS value
    FROM source_rows
),

numbered AS (SELECT *, id_number(unit_text) AS unit_id FROM typed)

SELECT
    *,
    CASE
        WHEN id_text <> '' THEN id_number(id_text)
        ELSE id_number(
            concat_ws('|', unit_id, epoch_us(moment), coalesce(value::VARCHAR, '-'), strlen(event), event, attributes)
        )
    END AS row_id,
    CASE
        WHEN line_reason IS NULL
            AND is_plain(unit_text)
            AND is_plain(event)
            AND is_in_range(moment, earliest, latest)
            AND CASE WHEN value IS NULL THEN value_text IS NULL ELSE is_sensible(value) END
            AND (id_text IS NULL OR is_plain(id_text))
            THEN NULL
        WHEN line_reason IS NOT NULL THEN line_reason
        WHEN text_reason('unit_id', unit_text) IS NOT NULL THEN text_reason('unit_id', unit_text)
        WHEN text_reason('event', event) IS NOT NULL THEN text_reason('event', event)
        WHEN time_reason('occurred_at', time_text, moment, earliest, latest) IS NOT NULL
            THEN time_reason('occurred_at', time_text, moment, earliest, latest)
        WHEN isnan(value) THEN 'not_finite|value is NaN'
        WHEN isinf(value)
            THEN 'not_finite|value is infinite or too large: ' || coalesce(left(value_text, 100), value::VARCHAR)
        WHEN NOT is_sensible(value)
            THEN 'absurd_value|value is beyond 1e15: ' || coalesce(left(value_text, 100), value::VARCHAR)
        WHEN value IS NULL AND NOT is_blank(value_text)
            THEN 'wrong_type|value is not a number: ' || left(value_text, 100)
        WHEN NOT is_plain_id(id_text) AND strlen(id_text) > 512 THEN 'too_long|event_id is longer than 512 bytes'
        WHEN NOT is_plain_id(id_text) THEN 'control_characters|event_id holds control characters'
    END AS reason
FROM numbered
