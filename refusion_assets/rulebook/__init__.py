"""The rules folder: read, and proved before anything is calculated."""
