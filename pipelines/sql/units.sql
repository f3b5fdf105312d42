-- units: the spelling of every exposed unit. Facts carry the number only.
-- Grain: one row per unit_id (63 bits of the MD5 of the spelling); a second spelling of a number is refused.
CREATE TABLE units (unit_id BIGINT NOT NULL, unit VARCHAR NOT NULL);
