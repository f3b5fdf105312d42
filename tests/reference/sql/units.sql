-- Units of the reference: first exposure inside the experiment, one variant only. Grain: one row per unit_id.
-- Written by hand, independently of the engine, for the test of every metric kind.
SELECT unit_id, min(variant) AS variant, min(exposed_at) AS exposed_at
FROM exposures
WHERE experiment = 'checkout' AND exposed_at < TIMESTAMP '2026-03-16'
GROUP BY unit_id
HAVING count(DISTINCT variant) = 1 AND min(exposed_at) >= TIMESTAMP '2026-03-02'
