-- arrived_exposures: exposures that had been ingested by a moment.
-- Grain: one row per exposure. Reads: logged_exposures, ingestions. Parameters: $as_of.
SELECT x.unit_id, x.variant, x.exposed_at, x.platform, x.age, x.assigned
FROM logged_exposures AS x
WHERE EXISTS (SELECT 1 FROM ingestions AS i WHERE i.batch_id = x.batch_id AND i.ingested_at <= $as_of)
