"""Findings in words: what a caseworker must look at, of lines, weeks and files."""
