"""Changes to presets and settings by callers: validated, locked, logged, rolled back if a write fails."""
