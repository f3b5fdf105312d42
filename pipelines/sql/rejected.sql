-- rejected: every row that was refused, with its reason and its text.
-- Grain: one row per table_name, source and raw text within its file; reading the file again adds nothing.
-- row_number counts data rows of the file from 1; raw is the row as it was read.
CREATE TABLE rejected (
    batch_id INTEGER NOT NULL,
    table_name VARCHAR NOT NULL,
    row_number BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    raw VARCHAR NOT NULL
);
