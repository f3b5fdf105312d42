-- read_journal: the journal's lines that the warehouse keeps.
-- Grain: one row per batch whose source was kept.
SELECT batch_id, line
FROM journal
ORDER BY batch_id
