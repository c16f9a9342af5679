"""The law as data: entries with dates, what a change of them touches, and a proposal beside them."""
