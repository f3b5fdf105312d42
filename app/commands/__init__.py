"""The commands behind `rampwise`: parse, call, print. Heavy libraries are imported inside the functions."""
