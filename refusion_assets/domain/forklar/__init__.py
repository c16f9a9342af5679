"""The explanation of a month: its content, and its Danish words."""
