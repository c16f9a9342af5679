"""Findings: what a run points at, looked for in the warehouse and told as advice."""
