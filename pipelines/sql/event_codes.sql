-- event_codes: the number of every event name.
-- Grain: one row per event name. Reads: event_names.
SELECT event, event_code
FROM event_names
