"""Writes synthetic people, lives and reports as a data root; no part of the settlement."""
