"""The three tools, their arguments, and the conversion of a run to a tool result."""
