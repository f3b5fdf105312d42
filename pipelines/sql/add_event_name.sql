-- add_event_name: one more name. Parameters: event_code, event.
-- Grain: one row.
INSERT INTO event_names (event_code, event)
VALUES ($event_code, $event)
