-- units_identified: the temporary views `unit_exposures` and `unit_events`: rows under the unit they are taken for.
-- Grain: one row per exposure, and per event that counts for anybody. Reads: exposure_rows, event_rows, identified_units.
-- An ambiguous id stays itself in exposures, so that it can be counted as left out; its events are nobody's.
CREATE OR REPLACE TEMP VIEW unit_exposures AS
SELECT exposure_rows.* REPLACE (coalesce(identified_units.unit_id, exposure_rows.unit_id) AS unit_id)
FROM exposure_rows
LEFT JOIN identified_units ON exposure_rows.unit_id = identified_units.anonymous_id;
CREATE OR REPLACE TEMP VIEW unit_events AS
SELECT event_rows.* REPLACE (coalesce(identified_units.unit_id, event_rows.unit_id) AS unit_id)
FROM event_rows
LEFT JOIN identified_units ON event_rows.unit_id = identified_units.anonymous_id
WHERE identified_units.ambiguous IS NOT true;
