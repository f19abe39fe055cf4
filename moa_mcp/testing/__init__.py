"""Doubles for programs that use this package: a provider whose replies you write, and flows driven by hand."""

from moa_mcp.testing.playing import Played, drive
from moa_mcp.testing.scripted import HoldingProvider, ScriptedProvider

__all__ = ["HoldingProvider", "Played", "ScriptedProvider", "drive"]
