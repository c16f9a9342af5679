"""Findings in words: lines, weeks and files that a caseworker must look at."""
