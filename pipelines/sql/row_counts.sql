-- row_counts: how much the warehouse holds.
-- Grain: one row.
-- Reads: exposures, events, rejected.
SELECT
    (SELECT count(*) FROM exposures) AS exposures,
    (SELECT count(*) FROM events) AS events,
    (SELECT count(*) FROM rejected) AS rejected
