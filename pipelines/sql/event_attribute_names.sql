-- event_attribute_names: attributes that events of one name have.
-- Grain: one row per attribute. Reads: event_rows, event_names. Parameter: $event.
SELECT DISTINCT unnest(json_keys(attributes)) AS attribute
FROM event_rows
WHERE event_code = (SELECT event_code FROM event_names WHERE event = $event) AND attributes IS NOT NULL
ORDER BY attribute
