-- ratio: load time per page view (sum over count) until the end, variance by the delta method over units:
-- (var(x) - 2 R cov(x, y) + R^2 var(y)) / mean(y)^2 with R = mean(x) / mean(y). Grain: one row per variant.
SELECT
    variant, n, mean_x / mean_y AS mean,
    (var_x - 2 * (mean_x / mean_y) * cov_xy + (mean_x / mean_y) ** 2 * var_y) / mean_y ** 2 AS variance
FROM (
    SELECT
        variant, count(*) AS n, avg(x) AS mean_x, avg(y) AS mean_y,
        var_samp(x) AS var_x, var_samp(y) AS var_y, covar_samp(x, y) AS cov_xy
    FROM (
        SELECT
            units.unit_id, units.variant,
            coalesce(sum(events.value), 0) AS x, count(events.unit_id) AS y
        FROM units
        LEFT JOIN events
            ON events.unit_id = units.unit_id AND events.event = 'page_view'
            AND events.occurred_at >= units.exposed_at AND events.occurred_at < TIMESTAMP '2026-03-16'
        GROUP BY units.unit_id, units.variant
    )
    GROUP BY variant
)
