-- logged_variants: the variants in the exposure log of one experiment, in the order of their places in assignments.
-- Grain: one row per variant. Reads: assignment_places.
SELECT variant
FROM assignment_places
ORDER BY place
