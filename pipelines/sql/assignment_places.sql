-- assignment_places: the variants in the exposure log of one experiment, numbered by name from 0.
-- Grain: one row per variant. Reads: exposure_rows. Parameters: $experiment.
CREATE OR REPLACE TEMP TABLE assignment_places AS
SELECT variant, row_number() OVER (ORDER BY variant) - 1 AS place
FROM (SELECT DISTINCT variant FROM exposure_rows WHERE experiment = $experiment)
