-- ratio_of_filters: values of purchases abroad of two pieces or more, over different items other than i0 and i5 that
-- were viewed with a known country; both in [1, 6) days after first exposure.
-- Grain: one row per unit. Reads: oracle_units, given_events. Parameters: $end.
SELECT
    u.unit_id, u.variant, u.at,
    coalesce(sum(e.value) FILTER (
        e.event = 'purchase' AND (e.country IS NULL OR e.country NOT IN ('DE', 'CH'))
        AND try_cast(e.pieces AS DOUBLE) >= 2
    ), 0) AS x,
    count(DISTINCT e.item) FILTER (
        e.event = 'view' AND e.item IN ('i1', 'i2', 'i3', 'i4') AND e.country IS NOT NULL
    )::DOUBLE AS y
FROM oracle_units AS u
LEFT JOIN given_events AS e
    ON e.unit_id = u.unit_id AND e.event IN ('purchase', 'view') AND e.occurred_at < $end
    AND e.occurred_at >= u.at + INTERVAL 1 DAY AND e.occurred_at < u.at + INTERVAL 6 DAY
GROUP BY ALL
