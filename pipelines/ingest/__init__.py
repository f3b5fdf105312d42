"""Files and frames into the warehouse: every row accepted, counted as duplicate, or rejected with a reason."""
