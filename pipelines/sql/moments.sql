-- moments: a metric of one variant at the end of one day (UTC), aggregated elsewhere, cumulative over all units so far.
-- Grain: one row per source, day and content; of several rows of a metric, variant and day the last batch's stands.
-- Format 2: rows whose metric is `units:exposed`, `units:analysed` or `units:` and a reason count units in n.
CREATE TABLE moment_rows (
    moment_id BIGINT NOT NULL,
    experiment VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,
    day TIMESTAMP NOT NULL,
    n DOUBLE NOT NULL,
    mean DOUBLE NOT NULL,
    variance DOUBLE NOT NULL,
    denominator_mean DOUBLE,
    denominator_variance DOUBLE,
    covariance DOUBLE,
    batch_id INTEGER NOT NULL
);
