"""The user interface in a real browser, and Dagster's storage on a real PostgreSQL; run by `make ui-test`."""
