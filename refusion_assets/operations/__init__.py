"""The operator's day: the board of deliveries, the critical week that starts by itself, and the alarms."""
