"""What commands print: answers, progress, plans, presets, tables."""
