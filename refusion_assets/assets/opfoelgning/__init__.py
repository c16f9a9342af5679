"""Opfoelgning: the follow-up of a settled run, as tables, checks, pages and files; never in the critical path."""
