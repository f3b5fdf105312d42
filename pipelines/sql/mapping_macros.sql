-- mapping_macros: how a value is found in a row that is one JSON object. Made per connection; nothing is stored.

-- The first element of an array whose member is a text.
CREATE OR REPLACE TEMP MACRO element_where(items, pointer, wanted) AS
    list_filter(json_extract(items, '$[*]'), lambda item: json_extract_string(item, pointer) = wanted)[1];

-- Text of a single value; NULL where there is none, or nothing in it.
CREATE OR REPLACE TEMP MACRO filled_text(found) AS nullif(trim(json_extract_string(found, '$')), '');

-- Whether a value is an object or an array.
CREATE OR REPLACE TEMP MACRO is_nested(found) AS coalesce(json_type(found) IN ('OBJECT', 'ARRAY'), FALSE);

-- A text that holds a JSON object or array as what it holds: columns of Parquet and CSV files.
CREATE OR REPLACE TEMP MACRO unpacked(spelling) AS
    CASE
        WHEN left(ltrim(spelling), 1) IN ('{', '[') AND json_valid(spelling) THEN spelling::JSON
        ELSE to_json(spelling)
    END;

-- A number of seconds, milli-, micro- or nanoseconds since 1970 as the text of a time in UTC; any other text as it is.
CREATE OR REPLACE TEMP MACRO epoch_text(spelling, unit) AS CASE
    WHEN NOT coalesce(regexp_full_match(spelling, '[0-9]{1,19}([.][0-9]{1,9})?'), FALSE) THEN spelling
    WHEN unit = 'seconds' AND regexp_full_match(spelling, '[0-9]{1,11}([.][0-9]+)?')
        THEN make_timestamp((TRY_CAST(spelling AS DECIMAL(28, 6)) * 1000000)::BIGINT)::VARCHAR
    WHEN unit = 'milliseconds' AND regexp_full_match(spelling, '[0-9]{1,14}([.][0-9]+)?')
        THEN make_timestamp((TRY_CAST(spelling AS DECIMAL(28, 6)) * 1000)::BIGINT)::VARCHAR
    WHEN unit = 'microseconds' AND regexp_full_match(spelling, '[0-9]{1,17}([.][0-9]+)?')
        THEN make_timestamp(TRY_CAST(spelling AS DECIMAL(28, 6))::BIGINT)::VARCHAR
    WHEN unit = 'nanoseconds' AND regexp_full_match(spelling, '[0-9]{1,19}')
        THEN make_timestamp((TRY_CAST(spelling AS HUGEINT) // 1000)::BIGINT)::VARCHAR
    ELSE spelling
END;
