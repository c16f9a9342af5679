"""The law pages: `rules/`, the code and the tests as pages for a lawyer."""
