"""Synthetic people, their lives and their reports, as a data root; no part of the settlement."""
