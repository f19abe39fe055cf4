"""One adapter per wire format of a provider, and how each one's replies and errors are read."""
