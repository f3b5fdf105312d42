-- known_event_names: the enumeration so far.
-- Grain: one row per event name.
SELECT event, event_code
FROM event_names
