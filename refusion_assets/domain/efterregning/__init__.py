"""The second calculation: slow, plain, and sharing nothing with the first but the rules (ADR 0009)."""
