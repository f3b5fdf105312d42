-- units: first exposure of every unit that saw one variant only, during the experiment.
-- Grain: one row per unit. Reads: given_exposures. Parameters: $start, $end.
SELECT unit_id, min(variant) AS variant, min(exposed_at) AS at
FROM given_exposures
WHERE exposed_at < $end
GROUP BY unit_id
HAVING count(DISTINCT variant) = 1 AND min(exposed_at) >= $start
