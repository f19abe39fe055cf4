"""The ways to reach models: one Protocol (base.py), an adapter per dialect, and wrappers around any of them."""
