-- flag_audit: where units stand on a salt's line, computed anew from their ids as they are written.
-- Grain: one row per unit of the table `audited_units(unit VARCHAR)`.
-- Parameters: $a, $b (factor and offset of the salt's line). 67108859 is the prime of pipelines/client/bucketing.py.
-- The number of a unit is one more than the first 8 bytes of its SHA-256, modulo 67108858.
WITH numbered AS (
    SELECT unit, 1 + ('0x' || sha256(unit)[1:16])::UBIGINT % 67108858 AS number FROM audited_units
)
SELECT unit, number::BIGINT AS number, ($a::BIGINT * number::BIGINT + $b::BIGINT) % 67108859 AS position
FROM numbered
