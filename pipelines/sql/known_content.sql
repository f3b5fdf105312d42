-- known_content: whether a content was loaded before, and whether some of its refused rows might be accepted now.
-- Grain: one row. Reads: batches, rejected. Parameters: table_name, source, content_hash.
-- Only a reason outside the file can go: a definition that was missing, dates of an experiment, the clock.
SELECT
    count(*) > 0 AS known,
    coalesce(bool_or(EXISTS (
        SELECT 1
        FROM rejected
        WHERE rejected.batch_id = batches.batch_id AND rejected.resolved_batch_id IS NULL
            AND rejected.code IN ('unknown_experiment', 'unknown_variant', 'too_early', 'too_late', 'colliding_id')
    )), FALSE) AS resolves
FROM batches
WHERE table_name = $table_name AND source = $source AND content_hash = $content_hash
