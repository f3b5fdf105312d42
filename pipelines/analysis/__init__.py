"""From events to a snapshot: first exposures, values per unit, Moments, effects, verdicts, a decision."""
