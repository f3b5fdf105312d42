-- identities: an anonymous id was seen to belong to a known one, at a time (UTC), for example at a login.
-- Grain: one row per source, day and content: the same pair at another time is another row.
-- anonymous_id and known_id are numbers of the same kind as unit_id.
CREATE TABLE identity_rows (
    link_id BIGINT NOT NULL,
    anonymous_id BIGINT NOT NULL,
    known_id BIGINT NOT NULL,
    linked_at TIMESTAMP NOT NULL,
    batch_id INTEGER NOT NULL
);
CREATE VIEW identities AS
SELECT
    facts.anonymous_id, facts.known_id, facts.linked_at, facts.link_id,
    batches.source, facts.batch_id, batches.finished_at AS ingested_at
FROM identity_rows AS facts
JOIN batches USING (batch_id);
