"""Findings: searches the warehouse for lines, weeks and files to look at, and stores them as advice."""
