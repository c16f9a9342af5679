"""The open Ydelsesrefusion: what each municipality gets back from the state, week by week."""
