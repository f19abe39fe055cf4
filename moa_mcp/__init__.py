"""Ask a Mixture-of-Agents: layers of models draft in parallel, an aggregator writes one answer.

    from moa_mcp import Panel, ask

    run = await ask("Which of these proofs is wrong, and where?", preset="moa-lite")
    run.answer, run.cost_usd, run.calls

    async with Panel("moa-lite") as panel:
        async for event in panel.stream("And why?"):
            ...

Each name is imported when it is first used, so importing the package alone takes almost no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moa_mcp.api import Panel as Panel
    from moa_mcp.api import ask as ask
    from moa_mcp.api import ask_sync as ask_sync
    from moa_mcp.api import stream as stream
    from moa_mcp.domain.errors import MoAError as MoAError
    from moa_mcp.domain.errors import ProviderError as ProviderError
    from moa_mcp.domain.errors import Reason as Reason
    from moa_mcp.domain.errors import RunFailed as RunFailed
    from moa_mcp.domain.errors import UserError as UserError
    from moa_mcp.domain.model import Call as Call
    from moa_mcp.domain.model import Draft as Draft
    from moa_mcp.domain.model import Message as Message
    from moa_mcp.domain.model import Run as Run
    from moa_mcp.domain.preset import Preset as Preset
    from moa_mcp.flows.compare.find import find_answer as find_answer
    from moa_mcp.flows.compare.same import same_answer as same_answer
    from moa_mcp.runs import events as events
    from moa_mcp.runs.events import Event as Event

    __version__: str

_HOMES = {
    "Call": "moa_mcp.domain.model",
    "Draft": "moa_mcp.domain.model",
    "Event": "moa_mcp.runs.events",
    "Message": "moa_mcp.domain.model",
    "MoAError": "moa_mcp.domain.errors",
    "Panel": "moa_mcp.api",
    "Preset": "moa_mcp.domain.preset",
    "ProviderError": "moa_mcp.domain.errors",
    "Reason": "moa_mcp.domain.errors",
    "Run": "moa_mcp.domain.model",
    "RunFailed": "moa_mcp.domain.errors",
    "UserError": "moa_mcp.domain.errors",
    "ask": "moa_mcp.api",
    "ask_sync": "moa_mcp.api",
    "find_answer": "moa_mcp.flows.compare.find",
    "same_answer": "moa_mcp.flows.compare.same",
    "stream": "moa_mcp.api",
}

__all__ = [
    "Call",
    "Draft",
    "Event",
    "Message",
    "MoAError",
    "Panel",
    "Preset",
    "ProviderError",
    "Reason",
    "Run",
    "RunFailed",
    "UserError",
    "__version__",
    "ask",
    "ask_sync",
    "events",
    "find_answer",
    "same_answer",
    "stream",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("moa-mcp")
    if name == "events":
        return import_module("moa_mcp.runs.events")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
