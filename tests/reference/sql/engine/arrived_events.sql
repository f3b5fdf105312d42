-- arrived_events: events that had been ingested by a moment.
-- Grain: one row per event. Reads: logged_events, ingestions. Parameters: $as_of.
SELECT e.unit_id, e.event, e.occurred_at, e.value, e.country, e.item, e.pieces
FROM logged_events AS e
WHERE EXISTS (SELECT 1 FROM ingestions AS i WHERE i.batch_id = e.batch_id AND i.ingested_at <= $as_of)
