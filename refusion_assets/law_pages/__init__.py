"""The law pages: what stands in `rules/`, in the code and in the tests, as pages for a lawyer."""
