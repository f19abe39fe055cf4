"""The methods, as generators without I/O: a flow yields batches of calls, receives their outcomes, returns an answer.

A flow is deterministic, so that the runner can resume a run by replaying it against the journal.
"""
