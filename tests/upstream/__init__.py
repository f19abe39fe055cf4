"""Test doubles for programs that use models: a loopback provider of both dialects, and scripts for it.

`Upstream` serves in the test's own event loop, `upstream_thread` from a thread, `upstream_process` (or
`python -m tests.upstream`) from another process.
"""

from tests.upstream.faults import Fault
from tests.upstream.ledger import Connection, Ledger
from tests.upstream.process import UpstreamProcess, upstream_process
from tests.upstream.reply import Reply
from tests.upstream.request import Request
from tests.upstream.scripts import Answer, Script, by_model, echo, in_turn
from tests.upstream.threaded import ThreadedUpstream, upstream_thread
from tests.upstream.upstream import Upstream

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
