"""Measurements that anyone can repeat: `python -m benchmarks.NAME` prints one line of JSON."""
