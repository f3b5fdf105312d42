-- batches: the ledger of ingestion. rows_read = accepted + duplicates + rejected, always.
-- Grain: one row per file or frame that was read, in the order of reading; a file read again is a batch of its own.
-- content_hash is the SHA-256 of the source; finished_at is when its rows became visible (UTC).
-- The key also makes two writers in one process collide instead of both loading the same rows.
CREATE TABLE batches (
    batch_id INTEGER PRIMARY KEY,
    table_name VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    content_hash VARCHAR NOT NULL,
    rows_read BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    duplicates BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP NOT NULL,
    CHECK (rows_read = accepted + duplicates + rejected)
);
