-- covariates_of_others: purchase values in [1, 6) days after first exposure; in the two days before it: the same, views in
-- Austria, purchase values and views (a ratio), whether a purchase followed a view within a day, whether any was made,
-- different items viewed, the largest purchase; and the age at first exposure (the mean of all units where it is no
-- number), and whether it is none.
-- Grain: one row per unit. Reads: oracle_units, given_exposures, given_events. Parameters: $end.
WITH aged AS (
    SELECT u.unit_id, try_cast(min(x.age) AS DOUBLE) AS age
    FROM oracle_units AS u
    JOIN given_exposures AS x ON x.unit_id = u.unit_id AND x.exposed_at = u.at
    GROUP BY u.unit_id
),

after AS (
    SELECT u.unit_id, sum(e.value) AS x
    FROM oracle_units AS u
    JOIN given_events AS e
        ON e.unit_id = u.unit_id AND e.event = 'purchase' AND e.occurred_at < $end
        AND e.occurred_at >= u.at + INTERVAL 1 DAY AND e.occurred_at < u.at + INTERVAL 6 DAY
    GROUP BY u.unit_id
),

before AS (
    SELECT u.unit_id, e.event, e.occurred_at, e.value, e.country, e.item
    FROM oracle_units AS u
    JOIN given_events AS e
        ON e.unit_id = u.unit_id AND e.occurred_at < u.at AND e.occurred_at >= u.at - INTERVAL 2 DAY
),

summed AS (
    SELECT
        unit_id,
        sum(value) FILTER (event = 'purchase') AS paid,
        count(*) FILTER (event = 'view' AND country = 'AT') AS austrian,
        count(*) FILTER (event = 'view') AS views,
        (count(*) FILTER (event = 'purchase') > 0)::DOUBLE AS bought,
        count(DISTINCT item) FILTER (event = 'view') AS items,
        max(value) FILTER (event = 'purchase') AS largest
    FROM before
    GROUP BY unit_id
),

stepped AS (
    SELECT DISTINCT v.unit_id
    FROM before AS v
    JOIN before AS p ON p.unit_id = v.unit_id AND p.event = 'purchase'
        AND p.occurred_at >= v.occurred_at AND p.occurred_at < v.occurred_at + INTERVAL 1 DAY
    WHERE v.event = 'view'
)

SELECT
    u.unit_id, u.variant, u.at,
    coalesce(after.x, 0) AS x,
    coalesce(summed.paid, 0) AS own,
    coalesce(summed.austrian, 0)::DOUBLE AS austrian,
    coalesce(summed.paid, 0) AS numerator,
    coalesce(summed.views, 0)::DOUBLE AS denominator,
    (stepped.unit_id IS NOT NULL)::DOUBLE AS took_steps,
    coalesce(summed.bought, 0) AS bought,
    coalesce(summed.items, 0)::DOUBLE AS items,
    coalesce(summed.largest, 0) AS largest,
    coalesce(aged.age, avg(aged.age) OVER ()) AS age,
    (aged.age IS NULL)::DOUBLE AS age_is_missing
FROM oracle_units AS u
JOIN aged USING (unit_id)
LEFT JOIN after USING (unit_id)
LEFT JOIN summed USING (unit_id)
LEFT JOIN stepped USING (unit_id)
