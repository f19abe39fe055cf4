"""Test doubles for programs that use this package: providers with scripted replies, and a driver for flows."""

from moa_mcp.testing.playing import Played, drive
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider

__all__ = ["HoldingProvider", "Played", "ScriptedProvider", "drive"]
