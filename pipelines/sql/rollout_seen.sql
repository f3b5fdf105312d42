-- rollout_seen: when each unit of one rollout's run was first and last seen in each variant and stage.
-- Grain: one row per unit_id, variant and stage. Reads: exposure_rows. Parameters: $rollout, $run, $since, $until.
-- Attributes are read once per different text, of which there are few. Exposures that name no run and no stage (another
-- client wrote them) are of this run, and of the stage -1: the reader finds it by their time.
CREATE OR REPLACE TEMP TABLE rollout_seen AS
WITH grouped AS (
    SELECT unit_id, variant, attributes, min(exposed_at) AS first_at, max(exposed_at) AS last_at
    FROM exposure_rows
    WHERE experiment = $rollout AND exposed_at >= $since::TIMESTAMP AND exposed_at < $until::TIMESTAMP
    GROUP BY unit_id, variant, attributes
),

stages AS (
    SELECT
        attributes,
        coalesce(try_cast(attributes ->> '$.stage' AS INTEGER), -1) AS stage,
        coalesce(try_cast(attributes ->> '$.run' AS INTEGER), $run::INTEGER) AS run
    FROM (SELECT DISTINCT attributes FROM grouped)
)

SELECT
    unit_id,
    variant,
    stage,
    min(first_at) AS first_at,
    max(last_at) AS last_at
FROM grouped
JOIN stages ON grouped.attributes IS NOT DISTINCT FROM stages.attributes
WHERE stages.run = $run::INTEGER
GROUP BY unit_id, variant, stage
