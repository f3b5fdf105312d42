-- journal: the line of landed/journal.jsonl of every batch, a second time, so that either can mend the other.
-- Grain: one row per batch whose source was kept.
CREATE TABLE journal (batch_id INTEGER NOT NULL, line VARCHAR NOT NULL);
