-- units_of_day: of the units of a look those that are in a metric at the end of a day: exposed by then, and, where a
-- value counts once it is final, with a window that is closed.
-- Grain: one row per unit. Reads: look_units. Parameters: $end (of the day), $closes (days after first exposure on which
-- the window closes; NULL: units count from their exposure on).
SELECT u.unit_id, u.variant, u.at
FROM look_units AS u
WHERE u.at < $end AND ($closes::INTEGER IS NULL OR u.at + to_days($closes::INTEGER) <= $end)
