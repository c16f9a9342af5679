"""Weeks of support: their kind and number, and the spells that are stored of them."""
