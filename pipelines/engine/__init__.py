"""Where the events live: opening the DuckDB warehouse and running SQL on it."""
