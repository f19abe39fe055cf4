"""Test doubles for programs that use models: a loopback provider of both dialects, and scripts for it.

`Upstream` serves in the test's own event loop, `upstream_thread` from a thread, `upstream_process` (or
`python -m moa_mcp.testing`) from another process.
"""

from moa_mcp.testing.faults import Fault
from moa_mcp.testing.ledger import Connection, Ledger
from moa_mcp.testing.process import UpstreamProcess, upstream_process
from moa_mcp.testing.reply import Reply
from moa_mcp.testing.request import Request
from moa_mcp.testing.scripts import Answer, Script, by_model, echo, in_turn
from moa_mcp.testing.threaded import ThreadedUpstream, upstream_thread
from moa_mcp.testing.upstream import Upstream

__all__ = [
    "Answer",
    "Connection",
    "Fault",
    "Ledger",
    "Reply",
    "Request",
    "Script",
    "ThreadedUpstream",
    "Upstream",
    "UpstreamProcess",
    "by_model",
    "echo",
    "in_turn",
    "upstream_process",
    "upstream_thread",
]
