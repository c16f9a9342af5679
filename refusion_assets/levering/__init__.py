"""Levering: how files leave the house and receipts come back; knows no run, no warehouse and no Dagster."""
