-- rejected: every row that was refused, with its reason and its text.
-- Grain: one row per table_name, source and raw text; reading it again adds nothing.
-- code is the kind of the reason, for programs. row_number counts the rows of the file from 1; raw is the line, or the row as JSON.
-- resolved_batch_id is the batch that accepted the row when its file was read again, its reason having gone.
CREATE TABLE rejected (
    batch_id INTEGER NOT NULL,
    table_name VARCHAR NOT NULL,
    row_number BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    raw VARCHAR NOT NULL,
    resolved_batch_id INTEGER,
    code VARCHAR NOT NULL
);
