"""Faelles: the shared solution itself, on the work floor."""
