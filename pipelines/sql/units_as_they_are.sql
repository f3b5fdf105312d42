-- units_as_they_are: the views that units_identified makes, and an empty `identified_units`, where no identities are mapped.
-- Grain: one row per exposure, and per event. Reads: exposure_rows, event_rows.
CREATE OR REPLACE TEMP VIEW unit_exposures AS SELECT * FROM exposure_rows;
CREATE OR REPLACE TEMP VIEW unit_events AS SELECT * FROM event_rows;
CREATE OR REPLACE TEMP TABLE identified_units (anonymous_id BIGINT, known_ids BIGINT, ambiguous BOOLEAN, unit_id BIGINT);
