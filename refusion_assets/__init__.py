"""The open Ydelsesrefusion: what each municipality gets back from the state, week by week."""

import gc

# Most objects of a run live until its end. Python's own search for garbage, after every 700 new objects, found next to
# none and cost a second a month.
gc.set_threshold(50_000)
