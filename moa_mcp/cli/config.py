"""Where a command finds the settings and files of its user."""

from __future__ import annotations

import os

from moa_mcp.config.settings import Paths, Settings, load_settings


def home() -> Paths:
    """The paths of the user's files. Raises InvalidConfig: MOA_MCP_HOME is not an absolute path."""
    return Paths.from_environ(os.environ)


def valid_settings() -> Settings:
    """The settings, for a command that reports a broken config.yaml and does not fall back to the defaults.

    Raises:
        InvalidConfig: config.yaml is not valid.
    """
    return load_settings(home())
