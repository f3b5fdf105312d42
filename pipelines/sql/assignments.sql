-- assignments: how each unit of one experiment entered it.
-- Grain: one row per unit_id; unit_key counts up from 0 in the order of unit_id.
-- Reads: unit_exposures, identified_units, assignment_places, batches. Parameters: $experiment, $until (end of the experiment or moment of
-- the look), $as_of (only what had been ingested by then; NULL for all).
-- first_seen holds moment and variant in one number, so that one min() finds both: microseconds times 1024 plus the
-- variant's place by name. Of two variants at the same moment the first by name is taken. `several` looks at what was
-- seen before $until only: what everybody gets after the end is no contamination.
-- assigned_place: the variant named by the attribute `assigned`, else the one seen most often, of equals the first.
CREATE OR REPLACE TEMP TABLE assignments AS
WITH seen AS (
    SELECT
        unit_id,
        min(epoch_us(exposed_at) * 1024 + place) AS first_seen,
        min(CASE WHEN exposed_at < $until::TIMESTAMP THEN place END)
        <> max(CASE WHEN exposed_at < $until::TIMESTAMP THEN place END) AS several
    FROM unit_exposures
    JOIN assignment_places USING (variant)
    WHERE experiment = $experiment
        AND ($as_of::TIMESTAMP IS NULL OR batch_id IN (SELECT batch_id FROM batches WHERE finished_at <= $as_of))
    GROUP BY unit_id
),

often AS (
    SELECT unit_id, places.place, count(*) AS times, min(exposed_at) AS since, max(named.place) AS named
    FROM unit_exposures
    JOIN assignment_places AS places USING (variant)
    SEMI JOIN (SELECT unit_id FROM seen WHERE several) AS switched USING (unit_id)
    LEFT JOIN assignment_places AS named ON unit_exposures.attributes ->> '$.assigned' = named.variant
    WHERE experiment = $experiment AND exposed_at < $until::TIMESTAMP
        AND ($as_of::TIMESTAMP IS NULL OR batch_id IN (SELECT batch_id FROM batches WHERE finished_at <= $as_of))
    GROUP BY unit_id, places.place
),

assigned AS (
    SELECT unit_id, coalesce(max(named), first(place ORDER BY times DESC, since, place)) AS assigned_place
    FROM often
    GROUP BY unit_id
)

-- Ordering the rows and counting them as they come takes less than counting in an order.
SELECT (row_number() OVER () - 1)::INTEGER AS unit_key, *
FROM (
    SELECT
        unit_id,
        (first_seen % 1024)::INTEGER AS place,
        coalesce(assigned_place, first_seen % 1024)::INTEGER AS assigned_place,
        make_timestamp(first_seen // 1024) AS exposed_at,
        coalesce(several, false) AS several,
        unit_id IN (SELECT anonymous_id FROM identified_units WHERE ambiguous) AS ambiguous
    FROM seen
    LEFT JOIN assigned USING (unit_id)
    ORDER BY unit_id
)
