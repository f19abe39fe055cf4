"""Where runs are kept: the Protocol (base.py) and one file per way to do it."""
