-- touching_moments: batches whose moments can change what a look showed that was made from moments.
-- Grain: one row per batch_id. Reads: batches, moment_rows. Parameters: $moment (of the look, TIMESTAMP in UTC), $after
-- (only batches after this one), $experiment, $until (end of the experiment or moment of the look).
SELECT DISTINCT batch_id
FROM moment_rows
WHERE batch_id > $after AND experiment = $experiment AND day < $until::TIMESTAMP
    AND batch_id IN (SELECT batch_id FROM batches WHERE finished_at > $moment)
