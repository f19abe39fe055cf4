"""Benchmarks. Each needs no key and no network; `python -m benchmarks.NAME` prints one line of JSON."""
