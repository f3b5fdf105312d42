-- attribute_names: attributes that exposures of one experiment have.
-- Grain: one row per attribute. Reads: exposure_rows. Parameter: $experiment.
SELECT DISTINCT unnest(json_keys(attributes)) AS attribute
FROM exposure_rows
WHERE experiment = $experiment AND attributes IS NOT NULL
ORDER BY attribute
