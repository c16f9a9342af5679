"""The rules folder: reads `rules/`, and proves it before anything is calculated."""
