"""The daily acts as the command line runs them: the critical week, and a run made again."""
