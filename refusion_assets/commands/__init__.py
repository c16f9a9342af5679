"""The commands of one subject each, beside those of `cli`."""
