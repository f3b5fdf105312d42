"""From events to a snapshot: first exposures, values per unit, Moments, effects, verdicts, a decision."""

from pipelines.analysis.looks import analyse

__all__ = ["analyse"]
