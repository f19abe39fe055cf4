"""The user's configuration: YAML files with line numbers, their validation, and settings with their defaults."""
