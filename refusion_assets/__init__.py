"""The open Ydelsesrefusion: what each municipality gets back from the state, week by week."""

import gc
import os
import resource

# Most objects of a run live until its end. Python's own search for garbage, after every 700 new objects, found next to
# none and cost a second a month.
gc.set_threshold(50_000)

# Every process of the program, also a run of the user interface, loads this before it makes a file (ADR 0034). Files
# are for its own account alone. A core dump would hold persons' numbers, so there is none.
os.umask(0o077)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
