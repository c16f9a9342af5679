"""The report of the follow-up: a page and a workbook per municipality, and tables for other systems."""
