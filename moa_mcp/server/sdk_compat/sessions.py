"""The sessions of mcp: their connections, and an end for the idle ones."""

from __future__ import annotations

from math import inf

from mcp.server.connection import Connection
from mcp.server.session import ServerSession
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager


def connection_of(session: ServerSession) -> Connection:
    """The connection of a session. Its `exit_stack` is closed when the client disconnects."""
    return session._connection  # pyright: ignore[reportPrivateUsage]


def end_idle_sessions(manager: StreamableHTTPSessionManager, owner: str, keep: int) -> bool:
    """End the longest-idle sessions of `owner` until `keep` are left. False if too many are in use.

    A session is in use while it serves a request or its stream is open.
    """
    sessions = manager._server_instances.items()  # pyright: ignore[reportPrivateUsage]
    owners = manager._session_owners  # pyright: ignore[reportPrivateUsage]
    own = [transport.idle_scope for session, transport in sessions if owners[session]["client_id"] == owner]
    active = [scope for scope in own if scope is None or not scope.cancel_called]
    idle = sorted((scope for scope in active if scope and scope.deadline < inf), key=lambda scope: scope.deadline)
    too_many = max(0, len(active) - keep)
    for scope in idle[:too_many]:
        scope.cancel()
    return len(idle) >= too_many
