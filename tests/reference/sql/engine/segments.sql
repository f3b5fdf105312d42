-- segments: platform at first exposure, by alphabet where there are several, '' where there is none: the 20 platforms
-- that most units have (of equals the first by name), all others together.
-- Grain: one row per unit. Reads: oracle_units, given_exposures.
WITH named AS (
    SELECT u.unit_id, coalesce(min(x.platform), '') AS platform
    FROM oracle_units AS u
    JOIN given_exposures AS x ON x.unit_id = u.unit_id AND x.exposed_at = u.at
    GROUP BY u.unit_id
),

ranked AS (
    SELECT platform, row_number() OVER (ORDER BY count(*) DESC, platform) AS place
    FROM named
    GROUP BY platform
)

SELECT named.unit_id, CASE WHEN place <= 20 THEN platform ELSE 'other' END AS segment
FROM named
JOIN ranked USING (platform)
