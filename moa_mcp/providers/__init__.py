"""The ways to reach models: one seam (base.py), an adapter per dialect, and wrappers around any of them."""
