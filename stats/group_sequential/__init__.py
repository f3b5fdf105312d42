"""Group-sequential inference: looks at a planned end's fractions, with the error spent on them by rule."""
