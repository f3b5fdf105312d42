-- events: a unit did something at a time (UTC), with an optional finite value.
-- Grain: one row per source, day and event_id.
-- event_id is 63 bits of an MD5: of the id in the file, or of the row's content where the file has none.
-- Numbers made by a hash do not compress; looking for a way would only take time.
-- The view spells the event name out and adds source and ingested_at from the ledger.
CREATE TABLE event_rows (
    event_id BIGINT NOT NULL USING COMPRESSION uncompressed,
    unit_id BIGINT NOT NULL,
    event_code INTEGER NOT NULL,
    occurred_at TIMESTAMP NOT NULL,
    value DOUBLE,
    attributes VARCHAR,
    batch_id INTEGER NOT NULL
);
CREATE VIEW events AS
SELECT
    facts.event_id, facts.unit_id, event_names.event, facts.occurred_at, facts.value, facts.attributes,
    batches.source, facts.batch_id, batches.finished_at AS ingested_at
FROM event_rows AS facts
JOIN event_names USING (event_code)
JOIN batches USING (batch_id);
