-- exposures: a unit saw a variant at a time (UTC).
-- Grain: one row per source, day and exposure_id.
-- exposure_id is 63 bits of an MD5: of the id in the file, or of the row's content where the file has none.
-- The view adds source and ingested_at from the ledger.
CREATE TABLE exposure_rows (
    exposure_id BIGINT NOT NULL,
    experiment VARCHAR NOT NULL,
    unit_id BIGINT NOT NULL,
    variant VARCHAR NOT NULL,
    exposed_at TIMESTAMP NOT NULL,
    attributes VARCHAR,
    batch_id INTEGER NOT NULL
);
CREATE VIEW exposures AS
SELECT
    facts.experiment, facts.unit_id, facts.variant, facts.exposed_at, facts.exposure_id, facts.attributes,
    batches.source, facts.batch_id, batches.finished_at AS ingested_at
FROM exposure_rows AS facts
JOIN batches USING (batch_id);
