"""Stores of runs: the Protocol (base.py) and one module or package for each implementation."""
