"""Always-valid inference: e-values, p-values and intervals that hold at every look, whenever one stops."""
