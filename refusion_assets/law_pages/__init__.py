"""The law pages: shows `rules/`, the code and the tests to a lawyer."""
