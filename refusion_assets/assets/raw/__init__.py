"""Raw: what was delivered, proved and stored as it came, and what an operator lets pass."""
