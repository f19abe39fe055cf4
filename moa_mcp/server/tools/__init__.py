"""The three tools, what they take, and how a run becomes a tool result."""
