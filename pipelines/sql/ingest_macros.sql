-- ingest_macros: how a text becomes a number of ours. Made per connection; nothing is stored.

-- 63 bits of the MD5 of a spelling: the same in every version and engine.
CREATE OR REPLACE TEMP MACRO id_number(spelling) AS (md5_number(spelling) & 9223372036854775807)::BIGINT;

-- Blank: nothing but white space. The comparison is cheap and settles almost every row.
CREATE OR REPLACE TEMP MACRO is_blank(spelling) AS spelling < '!' AND trim(spelling, E' \t\r\n\v\f') = '';

-- A time in UTC. An offset or zone in the text is kept right; a text without one is UTC; 10, 13, 16 or 19 digits are
-- seconds, milli-, micro- or nanoseconds since 1970. NULL where it is not a time. The formats are the frequent ones and
-- only make it fast; a plain cast to TIMESTAMP would be as fast, but drops the offset.
CREATE OR REPLACE TEMP MACRO utc_time(spelling) AS coalesce(
    try_strptime(
        spelling,
        ['%Y-%m-%d %H:%M:%S.%f', '%Y-%m-%dT%H:%M:%S.%fZ', '%Y-%m-%d %H:%M:%S', '%Y-%m-%dT%H:%M:%SZ']
    ),
    make_timestamp(epoch_us(TRY_CAST(spelling AS TIMESTAMPTZ))),
    CASE
        WHEN regexp_full_match(spelling, '[0-9]{10}([.][0-9]{1,6})?')
            THEN make_timestamp((spelling::DECIMAL(28, 6) * 1000000)::BIGINT)
        WHEN regexp_full_match(spelling, '[0-9]{13}') THEN make_timestamp(spelling::BIGINT * 1000)
        WHEN regexp_full_match(spelling, '[0-9]{16}') THEN make_timestamp(spelling::BIGINT)
        WHEN regexp_full_match(spelling, '[0-9]{19}') THEN make_timestamp((spelling::HUGEINT // 1000)::BIGINT)
    END
);

-- Why a time cannot be accepted; NULL where it can.
CREATE OR REPLACE TEMP MACRO time_reason(name, spelling, moment) AS CASE
    WHEN moment IS NULL AND (spelling IS NULL OR is_blank(spelling)) THEN name || ' is missing'
    WHEN moment IS NULL THEN name || ' is not a time: ' || left(spelling, 100)
    WHEN moment < TIMESTAMP '2000-01-01' THEN name || ' is before the year 2000: ' || coalesce(left(spelling, 100), moment::VARCHAR)
    WHEN moment >= TIMESTAMP '2100-01-01' THEN name || ' is after the year 2099: ' || coalesce(left(spelling, 100), moment::VARCHAR)
END;

-- Why a name or id cannot be accepted; NULL where it can.
CREATE OR REPLACE TEMP MACRO text_reason(name, spelling) AS CASE
    WHEN spelling IS NULL OR is_blank(spelling) THEN name || ' is missing'
    WHEN strlen(spelling) > 512 THEN name || ' is longer than 512 bytes'
END;

-- Whether a name or id, or a time, is beyond doubt. Cheap, and true for almost every row; the reasons decide the rest.
CREATE OR REPLACE TEMP MACRO is_plain(spelling) AS spelling >= '!' AND strlen(spelling) <= 512;
CREATE OR REPLACE TEMP MACRO is_in_range(moment) AS
    moment >= TIMESTAMP '2000-01-01' AND moment < TIMESTAMP '2100-01-01';
