"""Changing presets and settings from outside: validated, locked, logged, undone when a write fails."""
