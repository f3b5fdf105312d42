"""Mappings: where exposures and events are found in files of other systems. Data only: no code and no SQL."""
