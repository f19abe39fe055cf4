"""The methods, as generators without I/O: a flow yields batches of calls, is sent outcomes, returns an answer."""
