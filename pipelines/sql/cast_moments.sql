-- cast_moments: rows of a source as typed moments, each with the reason why it cannot be accepted, if any.
-- Grain: one row per row of the source, in its order.
-- Reads: source_rows, whose columns are text, or typed where the source is typed; known_variants, what is defined.
-- The reason 'unknown' is spelled out later, with the nearest name. A covariance may exceed its Cauchy-Schwarz bound by
-- the rounding of the warehouse it comes from: a relative 1e-9, and 1e-12 of the sizes of the values.
-- Rows of units (format 2) have a count only; exposed ones may be of variants that are not defined, which blocks a look.
WITH typed AS (
    SELECT
        *,
        coalesce(starts_with(metric, 'units:'), false) AS of_units,
        date_trunc('day', coalesce(time_typed, utc_time(time_text))) AS moment,
        coalesce(n_typed, TRY_CAST(n_text AS DOUBLE)) AS n,
        coalesce(mean_typed, TRY_CAST(mean_text AS DOUBLE), CASE WHEN of_units THEN 0 END) AS mean,
        coalesce(variance_typed, TRY_CAST(variance_text AS DOUBLE), CASE WHEN of_units THEN 0 END) AS variance,
        coalesce(denominator_mean_typed, TRY_CAST(denominator_mean_text AS DOUBLE)) AS denominator_mean,
        coalesce(denominator_variance_typed, TRY_CAST(denominator_variance_text AS DOUBLE)) AS denominator_variance,
        coalesce(covariance_typed, TRY_CAST(covariance_text AS DOUBLE)) AS covariance
    FROM source_rows
),

numbered AS (
    SELECT
        *,
        (denominator_mean IS NOT NULL)::INT + (denominator_variance IS NOT NULL)::INT + (covariance IS NOT NULL)::INT
            AS of_ratio
    FROM typed
)

SELECT
    numbered.*,
    id_number(
        concat_ws(
            '|', strlen(numbered.experiment), numbered.experiment, strlen(metric), metric, strlen(numbered.variant),
            numbered.variant, epoch_us(moment), n, mean, variance, coalesce(denominator_mean::VARCHAR, '-'),
            coalesce(denominator_variance::VARCHAR, '-'), coalesce(covariance::VARCHAR, '-')
        )
    ) AS row_id,
    CASE
        WHEN line_reason IS NOT NULL THEN line_reason
        WHEN text_reason('experiment', numbered.experiment) IS NOT NULL
            THEN text_reason('experiment', numbered.experiment)
        WHEN text_reason('metric', metric) IS NOT NULL THEN text_reason('metric', metric)
        WHEN text_reason('variant', numbered.variant) IS NOT NULL THEN text_reason('variant', numbered.variant)
        WHEN time_reason('day', time_text, moment, NULL, latest) IS NOT NULL
            THEN time_reason('day', time_text, moment, NULL, latest)
        WHEN n IS NULL OR NOT isfinite(n) THEN 'not_a_number|n is not a number'
        WHEN n < 0 OR n <> floor(n) THEN 'not_whole|n is not a whole number of units: ' || n::VARCHAR
        WHEN of_units AND metric NOT IN (
            'units:exposed', 'units:analysed', 'units:several_variants', 'units:before_start', 'units:after_end',
            'units:in_the_future', 'units:unknown_variant', 'units:ambiguous_identity', 'units:not_activated'
        ) THEN 'unknown_reason|no reason why units are left out: ' || metric
        WHEN of_units AND (mean <> 0 OR variance <> 0 OR of_ratio > 0)
            THEN 'not_a_count|rows of units have n only, and mean or variance is given: ' || metric
        WHEN mean IS NULL OR NOT isfinite(mean) THEN 'not_a_number|mean is not a number'
        WHEN variance IS NULL OR NOT isfinite(variance) THEN 'not_a_number|variance is not a number'
        WHEN variance < 0 THEN 'negative_variance|variance is negative: ' || variance::VARCHAR
        WHEN of_ratio NOT IN (0, 3)
            THEN 'incomplete_ratio|denominator_mean, denominator_variance and covariance belong together: give all three or none'
        WHEN NOT isfinite(denominator_mean) OR NOT isfinite(denominator_variance) OR NOT isfinite(covariance)
            THEN 'not_a_number|denominator_mean, denominator_variance or covariance is not a finite number'
        WHEN denominator_variance < 0 THEN 'negative_variance|denominator_variance is negative: ' || denominator_variance::VARCHAR
        WHEN abs(covariance) > sqrt(variance) * sqrt(denominator_variance) * (1 + 1e-9)
            + 1e-12 * (sqrt(variance) + abs(mean)) * (sqrt(denominator_variance) + abs(denominator_mean))
            THEN 'impossible_covariance|covariance is larger than the variances allow (Cauchy-Schwarz): ' || covariance::VARCHAR
        WHEN known_variants.experiment IS NULL AND NOT (
            metric IN ('units:exposed', 'units:unknown_variant')
            AND numbered.experiment IN (SELECT experiment FROM known_variants)
        ) THEN 'unknown'
    END AS reason
FROM numbered
LEFT JOIN known_variants
    ON numbered.experiment = known_variants.experiment AND numbered.variant = known_variants.variant
