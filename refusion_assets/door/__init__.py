"""The door of the user interface: who comes in, from where, and what each may do there."""
