-- units_as_they_are: the temporary view `unit_exposures`, and an empty `identified_units`, where no identities are mapped.
-- Grain: one row per exposure. Reads: exposure_rows.
CREATE OR REPLACE TEMP VIEW unit_exposures AS SELECT * FROM exposure_rows;
CREATE OR REPLACE TEMP TABLE identified_units (anonymous_id BIGINT, known_ids BIGINT, ambiguous BOOLEAN, unit_id BIGINT);
