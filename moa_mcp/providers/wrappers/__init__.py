"""Providers around a provider: each adds one thing to a call, such as retries, time limits or prices."""
