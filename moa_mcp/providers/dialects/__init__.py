"""One adapter per wire format, and the code that reads replies and errors in that format."""
