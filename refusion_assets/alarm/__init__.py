"""Alarms: who is told, of what, and how a message gets there without a person's number in it."""
