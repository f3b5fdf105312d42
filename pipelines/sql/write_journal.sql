-- write_journal: the journal's line of a batch that is complete.
-- Grain: one row.
INSERT INTO journal VALUES ($batch_id, $line)
