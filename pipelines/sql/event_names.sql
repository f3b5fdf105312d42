-- event_names: the enumeration of event names.
-- Grain: one row per event name; codes count up from 1 and never change.
CREATE TABLE event_names (event_code INTEGER NOT NULL, event VARCHAR NOT NULL);
