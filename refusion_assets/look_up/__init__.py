"""The look-up of one person: what is asked, the explanation, and the trace that it leaves."""
