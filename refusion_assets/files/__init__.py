"""Files: what is delivered to us, what goes out to the municipalities, and what a proposal would do."""
