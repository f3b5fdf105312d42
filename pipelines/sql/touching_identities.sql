-- touching_identities: batches whose identities can change what a look showed that maps them.
-- Grain: one row per batch_id. Reads: batches, identity_rows. Parameters: $moment (of the look, TIMESTAMP in UTC), $after
-- (only batches after this one).
SELECT DISTINCT batch_id
FROM identity_rows
WHERE batch_id > $after AND linked_at < $moment
    AND batch_id IN (SELECT batch_id FROM batches WHERE finished_at > $moment)
