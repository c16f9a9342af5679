"""The operator's day, pure: bank days, and the board of deliveries in words."""
