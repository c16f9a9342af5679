"""Checks: every question that a month must answer, on the table that it speaks of."""
