"""Understands a reason to stop: one line that says which rule, what, and what to do."""


class Stop(RuntimeError):
    """The month cannot go on; the text is one Danish line without any CPR number."""
