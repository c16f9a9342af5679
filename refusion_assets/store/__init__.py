"""The warehouse: the one door to DuckDB, its tables and contracts, the published copy, and the event log."""
