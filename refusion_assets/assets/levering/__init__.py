"""Levering on the work floor: which files a run has for whom, what has been sent, and the asset of it."""
