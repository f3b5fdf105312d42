"""Files and frames into the warehouse: every row accepted, counted as duplicate, or rejected with a reason."""

from __future__ import annotations

from pipelines.ingest.load import ingest_events, ingest_exposures, ingest_identities, ingest_moments
from pipelines.ingest.summary import FileSummary, IngestSummary

__all__ = ["FileSummary", "IngestSummary", "ingest_events", "ingest_exposures", "ingest_identities", "ingest_moments"]
