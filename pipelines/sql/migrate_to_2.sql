-- migrate_to_2: refusals get the code of their reason.
-- Grain: one row per refusal.
ALTER TABLE rejected ADD COLUMN code VARCHAR DEFAULT 'unspecified'
