-- warehouse_version: which layout of tables this file has.
-- Grain: one row.
CREATE TABLE warehouse_version (version INTEGER NOT NULL);
