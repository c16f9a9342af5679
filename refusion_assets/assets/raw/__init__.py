"""Raw: delivered files, proved and stored as they came, and the stops that an operator lets pass."""
