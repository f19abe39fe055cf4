"""Where a command finds the settings and files of whoever runs it."""

from __future__ import annotations

import os

from moa_mcp.config.settings import Paths, Settings, load_settings


def home() -> Paths:
    """Where the user's files are. Raises InvalidConfig."""
    return Paths.from_environ(os.environ)


def valid_settings() -> Settings:
    """The settings for a command whose user is present: a mistake is told, not worked around.

    Raises:
        InvalidConfig: config.yaml does not say what it should.
    """
    return load_settings(home())
