"""The shared solution itself: what its owners agree on."""
