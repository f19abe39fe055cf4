"""Ask a Mixture-of-Agents: layers of models draft in parallel, an aggregator writes one answer.

    from moa_mcp import ask, Preset

    run = await ask("Which of these proofs is wrong, and where?", preset="moa-lite")
    run.answer, run.cost_usd, run.calls

The names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moa_mcp.api import ask as ask
    from moa_mcp.domain.preset import Preset as Preset

    __version__: str

_HOMES = {"ask": "moa_mcp.api", "Preset": "moa_mcp.domain.preset"}

__all__ = ["Preset", "__version__", "ask"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("moa-mcp")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
