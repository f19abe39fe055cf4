"""Formats a run as text, as a tool result and as a document."""
