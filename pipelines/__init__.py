"""Events in, results out: definitions, warehouse, ingestion, analysis, snapshots, reports."""
