"""Wrappers: providers that contain another provider and add one thing, such as retries, time limits or prices."""
