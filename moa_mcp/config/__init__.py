"""The configuration of a person: YAML files with line numbers, their validation, settings with their defaults."""
