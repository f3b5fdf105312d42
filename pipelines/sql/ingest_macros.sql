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

-- A reason is a code for programs, a bar, and a sentence for people; the first bar divides them.
-- Why a time cannot be accepted; NULL where it can. `earliest` and `latest` are the contract's.
CREATE OR REPLACE TEMP MACRO time_reason(name, spelling, moment, earliest, latest) AS CASE
    WHEN moment IS NULL AND (spelling IS NULL OR is_blank(spelling)) THEN 'missing|' || name || ' is missing'
    WHEN moment IS NULL THEN 'not_a_time|' || name || ' is not a time: ' || left(spelling, 100)
    WHEN moment < TIMESTAMP '2000-01-01'
        THEN 'too_early|' || name || ' is before the year 2000: ' || coalesce(left(spelling, 100), moment::VARCHAR)
    WHEN moment >= TIMESTAMP '2100-01-01'
        THEN 'too_late|' || name || ' is after the year 2099: ' || coalesce(left(spelling, 100), moment::VARCHAR)
    WHEN moment < earliest
        THEN 'too_early|' || name || ' is too long before the experiment, the earliest accepted is '
        || earliest::VARCHAR || ': ' || coalesce(left(spelling, 100), moment::VARCHAR)
    WHEN moment >= latest
        THEN 'too_late|' || name || ' is in the future, more than 24 hours ahead: '
        || coalesce(left(spelling, 100), moment::VARCHAR)
END;

-- Whether a text holds control characters.
CREATE OR REPLACE TEMP MACRO has_controls(spelling) AS
    regexp_matches(spelling, '[\x{00}-\x{1f}\x{7f}-\x{9f}]');

-- Why a name or id cannot be accepted; NULL where it can.
CREATE OR REPLACE TEMP MACRO text_reason(name, spelling) AS CASE
    WHEN spelling IS NULL OR is_blank(spelling) THEN 'missing|' || name || ' is missing'
    WHEN strlen(spelling) > 512 THEN 'too_long|' || name || ' is longer than 512 bytes'
    WHEN has_controls(spelling) THEN 'control_characters|' || name || ' holds control characters'
END;

-- Whether a name or id, or a time, is beyond doubt. Cheap, and true for almost every row; the reasons decide the rest.
-- Quoting a text as JSON lengthens it by two signs unless it holds quotes, backslashes or control characters.
CREATE OR REPLACE TEMP MACRO is_plain(spelling) AS
    spelling >= '!' AND strlen(spelling) <= 512 AND length(spelling) = strlen(spelling)
    AND strlen(json_quote(spelling)) = strlen(spelling) + 2 AND NOT contains(spelling, chr(127));
CREATE OR REPLACE TEMP MACRO is_plain_id(spelling) AS
    spelling IS NULL OR (strlen(spelling) <= 512 AND NOT has_controls(spelling));
CREATE OR REPLACE TEMP MACRO is_in_range(moment, earliest, latest) AS
    moment >= coalesce(earliest, TIMESTAMP '2000-01-01') AND moment < latest;

-- Beyond this a number of doubles no longer holds cents, and no sum of it means anything.
CREATE OR REPLACE TEMP MACRO is_sensible(value) AS isfinite(value) AND value BETWEEN -1e15 AND 1e15;
